"""An engine's program as a plain process, without the sandbox: the control of the sandbox's tests."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cloister
from cloister.engines.echo import MODELS, SAMPLE, echo
from cloister.engines.http_exchange import answer_one
from cloister.engines.transcription_api import by_sample, handler

ENGINES = Path(cloister.__file__).parent / "engines"


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a unix socket."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        super().__init__("engine", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def answered_by_echo(data: bytes) -> bytes:
    """What the echo engine answers to `data` on a connection, which its peer closes for writing then."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        answer_one(theirs, handler(by_sample(echo, MODELS, SAMPLE)))
        theirs.close()
        received = b""
        while piece := ours.recv(65_536):
            received += piece
    return received


@contextlib.contextmanager
def unsandboxed(program: Path, folder: Path) -> Iterator[Path]:
    """The path of the socket that `program` answers on."""
    path = folder / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        source = str(ENGINES.parent.parent)
        code = (
            f"import runpy, sys; sys.path.insert(0, {source!r}); runpy.run_path({str(program)!r}, run_name='__main__')"
        )
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", code],
            pass_fds=[listener.fileno()],
            env={"LISTEN_FD": str(listener.fileno()), "PATH": os.defpath},
        )
    try:
        yield path
    finally:
        process.kill()
        process.wait()
