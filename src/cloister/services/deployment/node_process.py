"""One process of a node: started apart from the deployment API, found again by it, and told to end.

A process outlives the API that started it, so it is watched by a descriptor (pidfd) and not as a child: that is the
same whoever started it. It leads a session of its own, and what a terminal or a stop does to the API does not reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cloister.errors import Unavailable
from cloister.hosting.last_words import last_words
from cloister.hosting.processes import ProcessName, name_of, send
from cloister.tee.launch import ENVIRONMENT

_MAXIMUM_LOG = 8 * 1024 * 1024  # bytes; a larger one is put aside at the next start
_CAUGHT = "SigCgt:"


@dataclass(slots=True, eq=False)
class NodeProcess:
    """A process that runs, or has ended."""

    named: ProcessName
    log: Path
    log_start: int
    is_child: bool  # this API started it, and has to collect its end
    code: int | None = None  # how a child ended, as `os.waitstatus_to_exitcode` says it
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _descriptor: int = -1

    @classmethod
    def start(cls, command: Sequence[str], *, log: Path) -> Self:
        """Start `command` with the environment of measured processes and no other; what it says goes to `log`.

        Raises:
            Unavailable: this machine cannot start it now.
        """
        try:
            if log.exists() and log.stat().st_size > _MAXIMUM_LOG:
                log.replace(log.with_suffix(".log.1"))
            with log.open("ab") as said:
                log_start = said.tell()
                pid = _spawn(command, said.fileno())
        except OSError as error:
            raise Unavailable(f"a process cannot be started: {error.strerror}") from error
        named = name_of(pid) or ProcessName(pid=pid, started=0, boot="")  # it ended at once
        process = cls(named, log, log_start, is_child=True)
        process._watch()
        return process

    @classmethod
    def found(cls, named: ProcessName, *, log: Path) -> Self | None:
        """The process of that name, if it still runs."""
        process = cls(named, log, log.stat().st_size if log.exists() else 0, is_child=False)
        process._watch()
        if process.ended.is_set():
            return None
        return process

    def tell_to_end(self) -> None:
        """SIGTERM: it takes no new requests and finishes those that it has."""
        send(self.named, signal.SIGTERM)

    def was_told(self) -> bool:
        """Whether it was told to end before: our services let a second SIGTERM end them at once."""
        return not _catches(self.named.pid, signal.SIGTERM)

    async def wait(self, seconds: float) -> bool:
        """Whether it has ended within that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        return self.ended.is_set()

    def kill(self) -> None:
        """End it at once."""
        send(self.named, signal.SIGKILL)

    def how(self) -> str:
        """How it ended, in words."""
        if self.code is not None and self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        said = last_words(self.log, since=self.log_start)
        return said or ("in the absence of who started it" if self.code is None else f"exit code {self.code}")

    def leave(self) -> None:
        """Watch it no longer; it goes on."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _watch(self) -> None:
        """Take a descriptor, and look whether it is this process's: no other can take its number from then on."""
        try:
            self._descriptor = os.pidfd_open(self.named.pid)
        except OSError:
            self._end()
            return
        asyncio.get_running_loop().add_reader(self._descriptor, self._end)
        if name_of(self.named.pid) != self.named:
            self._end()

    def _end(self) -> None:
        self.leave()
        if self.is_child and self.code is None:
            # What it left behind in its group would hold its port. The number is its own until it is collected.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.named.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                collected, status = os.waitpid(self.named.pid, os.WNOHANG)
                self.code = os.waitstatus_to_exitcode(status) if collected else None
        self.ended.set()


def _spawn(command: Sequence[str], said: int) -> int:
    """Start a process that leads a session of its own; `said` is the descriptor of what it says. Its id."""
    return os.posix_spawn(
        command[0],
        list(command),
        ENVIRONMENT,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, said, 1),
            (os.POSIX_SPAWN_DUP2, said, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    )


def find(config: Path) -> ProcessName | None:
    """The process that a service with this settings file runs as, whoever started it: the leader of its session."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            pid, own = int(folder.name), folder.stat().st_uid == os.geteuid()
            if own and os.getsid(pid) == pid and os.fsencode(config) in (folder / "cmdline").read_bytes().split(b"\0"):
                return name_of(pid)
    return None


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal (proc(5))."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    caught = next((line for line in lines if line.startswith(_CAUGHT)), f"{_CAUGHT} 0")
    return bool(int(caught.removeprefix(_CAUGHT), 16) >> (number - 1) & 1)
