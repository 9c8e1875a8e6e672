"""Shows a chain of checks: numbered steps with their ids, how each ended, what it says and what was found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import msgspec
from rich.console import Console
from rich.text import Text

from cloister.cli.terminal import printable
from cloister.cli.words import words_of
from cloister.examination import Outcome, Step

MARKS = {Outcome.PASSED: ("✓", "green"), Outcome.FAILED: ("✗", "bold red"), Outcome.NOT_REACHED: ("·", "dim")}


class ShownStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step as `--json` gives it."""

    number: int
    id: str
    outcome: str
    says: str
    detail: str


def numbered(steps: Iterable[Step], *, start: int = 1) -> list[ShownStep]:
    """The steps with their numbers and words."""
    shown = []
    for number, step in enumerate(steps, start):
        words = words_of(step.id)
        says = "" if words is None else words.says
        shown.append(ShownStep(number=number, id=step.id, outcome=step.outcome, says=says, detail=step.detail))
    return shown


def show_steps(console: Console, steps: Sequence[ShownStep]) -> None:
    """One line a step; what failed says what stands against it."""
    width = max((len(step.id) for step in steps), default=0)
    for step in steps:
        mark, style = MARKS[Outcome(step.outcome)]
        detail = f" ({printable(step.detail)})" if step.detail else ""
        line = Text(f"{step.number:4} ") + Text(mark, style=style) + Text(f" {step.id:<{width}}  {step.says}")
        console.print(line + Text(detail, style=style if step.outcome == Outcome.FAILED else "dim"))


class _Patient(Console):
    """Whoever has read enough and left does not change how a command ends: its exit code is still its verdict."""

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console() -> Console:
    """Standard output as these commands print to it: no wrapping, no guessing at markup; NO_COLOR is heeded."""
    return _Patient(highlight=False, markup=False, soft_wrap=True)
