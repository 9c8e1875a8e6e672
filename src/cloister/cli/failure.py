"""How an error of ours is said: one sentence, and for a refusal what should have held and what it stands against."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from cloister.cli.terminal import printable
from cloister.cli.words import words_of
from cloister.errors import CloisterError, Refused


def sentences(error: CloisterError) -> list[str]:
    """The lines to show, the error itself first."""
    if not isinstance(error, Refused):
        return [str(error)]
    words = words_of(error.check)
    lines = [f"refused by {error}"]
    if words is not None:
        lines += [f"what should hold: {words.says}", f"it stands against: {words.guards}"]
    return lines


def show(error: CloisterError) -> None:
    """Say `error` on standard error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    first, *rest = sentences(error)
    console.print(Text("cloister: ", style="bold red") + Text(printable(first)))
    for line in rest:
        console.print(Text(printable(f"  {line}")))
