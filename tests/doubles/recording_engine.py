"""An engine that answers what it was asked, on the server of the real ones, and writes down each thing it was asked.

It can be told to kill itself once: the process of the request, or the warm one, at a step of the answer.
"""

from __future__ import annotations

import collections
import os
import signal
import socket
import sys
from pathlib import Path

from cloister.engines.server import Request, Response, serve

STEPS = ("forked, and nothing answered", "half an answer is out")
VICTIMS = ("the request's process", "the warm process")


def path_in(folder: Path) -> Path:
    """The engine's socket."""
    return folder / "engine.sock"


class Record:
    """What the engine was asked, in all of its lives."""

    def __init__(self, folder: Path) -> None:
        self._asked, self._deadly = folder / "engine.asked", folder / "engine.step"

    @property
    def asked(self) -> collections.Counter[bytes]:
        return collections.Counter(self._asked.read_bytes().splitlines() if self._asked.exists() else ())

    def arm(self, victim: str, step: str) -> None:
        """The next request is to meet this end."""
        self._deadly.write_text(f"{victim}\n{step}")

    def note(self, body: bytes) -> None:
        """One line a request; the kernel puts it at the end, whole."""
        descriptor = os.open(self._asked, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, body + b"\n")
        os.close(descriptor)

    def end_at(self, step: str) -> None:
        """Die here, if that was asked for; once."""
        if not self._deadly.exists():
            return
        victim, _, told = self._deadly.read_text().partition("\n")
        if told == step:
            self._deadly.unlink()
            os.kill(os.getpid() if victim == VICTIMS[0] else os.getppid(), signal.SIGKILL)


def tell(path: Path, port: int) -> None:
    """Say in a file that a process serves, and where: whole, or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(str(port))
    partial.rename(path)


def run(folder: Path) -> None:
    """Serve until killed."""
    path, record = path_in(folder), Record(folder)
    path.unlink(missing_ok=True)

    def answer(body):
        yield body[: len(body) // 2]
        record.end_at(STEPS[1])
        yield body[len(body) // 2 :]

    def handle(request: Request) -> Response:
        record.note(request.body)
        record.end_at(STEPS[0])
        return Response(200, "text/plain", answer(request.body))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        tell(folder / "engine.serving", 0)
        serve(listener, handle)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
