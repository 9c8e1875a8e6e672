"""What a person sees while files are sent: a line a file, true to the bytes that left and the audio that was heard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cloister.cli.terminal import printable


class TransferProgress:
    """Lines on standard error while the context lasts, if that is a terminal."""

    def __init__(self, console: Console | None = None, *, hidden: bool = False) -> None:
        """`console` is standard error, unless a test has its own; `hidden` where the result itself is in motion."""
        err = console or Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
        )
        self._shown = Progress(*columns, console=err, transient=True, disable=hidden or not err.is_terminal)

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Show the lines; they are gone at the end."""
        with self._shown:
            yield

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the lines away while something else is printed."""
        self._shown.stop()
        try:
            yield
        finally:
            self._shown.start()

    @contextlib.contextmanager
    def of(self, name: str, size: int) -> Iterator[FileProgress]:
        """The line of one file, of `size` bytes."""
        task = self._shown.add_task(printable(name), total=size, amount="")
        try:
            yield FileProgress(self._shown, task, printable(name))
        finally:
            self._shown.remove_task(task)


class FileProgress:
    """The line of one file."""

    def __init__(self, shown: Progress, task: TaskID, name: str) -> None:
        self._shown = shown
        self._task = task
        self._name = name
        self._words = 0

    def sent(self, done: int, total: int) -> None:
        """So many bytes of so many have left this machine; when all have, the service is at work."""
        whole = done >= total
        says = f"{self._name}: sent, waiting for the text" if whole else self._name
        self._show(says, done, total, f"{done / 1e6:.1f} of {total / 1e6:.1f} MB", now=whole)

    def heard(self, words: str) -> None:
        """The service has recognised these words of the file."""
        self._words += len(words.split())
        self._shown.update(self._task, description=f"{self._name}: {self._words} words heard", refresh=True)

    def reached(self, seconds: float, duration: float) -> None:
        """The service has heard so many seconds of the audio's: from here on the bar is of these."""
        self._show(
            f"{self._name}: {self._words} words heard",
            seconds,
            duration,
            f"{seconds:.0f} of {duration:.0f} s",
            now=True,
        )

    def waits(self, seconds: float) -> None:
        """The service has no room; it is asked again after `seconds`."""
        self._shown.update(self._task, description=f"{self._name}: the service is busy, again in {seconds:.0f} s")

    def _show(self, says: str, done: float, total: float, amount: str, *, now: bool) -> None:
        self._shown.update(self._task, description=says, completed=done, total=total, amount=amount, refresh=now)
