"""How an error of ours is said: one sentence, and for a refusal what should have held and what it stands against."""

from __future__ import annotations

import errno
from typing import ClassVar

from rich.console import Console
from rich.text import Text

from cloister.cli.exit_codes import pointer
from cloister.cli.terminal import printable
from cloister.cli.words import words_of
from cloister.errors import CloisterError, Refused


class MachineFault(CloisterError):
    """The operating system did not do what it was asked; the sentence says what, and what to do."""


class DiskFull(MachineFault):
    """There is no room for a file."""

    exit_code: ClassVar[int] = 4


class NotPermitted(MachineFault):
    """This user may not read or write a file."""

    exit_code: ClassVar[int] = 2


def sentences(error: CloisterError) -> list[str]:
    """The lines to show, the error itself first and the page of its exit code last."""
    lines = str(error).splitlines() or [type(error).__name__]
    if isinstance(error, Refused):
        lines[0] = f"refused by {lines[0]}"
        words = words_of(error.check)
        if words is not None:
            lines += [f"what should hold: {words.says}", f"it stands against: {words.guards}"]
    return [*lines, pointer(error.exit_code)]


def show(error: CloisterError, *, about: str = "") -> None:
    """Say `error` on standard error; where it is `about` one thing of several, without the page of its exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    first, *rest, page = sentences(error)
    named = f"{about}: {first}" if about else first
    console.print(Text("cloister: ", style="bold red") + Text(printable(named)))
    for line in rest:
        console.print(Text(printable(f"  {line.strip()}")))
    if not about:
        console.print(Text(f"  {page}", style="dim"))


def of_machine(error: OSError) -> MachineFault:
    """An error of the operating system that no command could say better."""
    what = f"{error.filename}: " if error.filename else "standard output: " if error.errno == errno.ENOSPC else ""
    said = f"{what}{error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"{said}. Make room there and run the command again: files are written whole or not at all, so what was"
            " there before still is"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotPermitted(f"{said}. Run the command as the owner of that file, or name another with --state DIR")
    return MachineFault(said)
