"""Tries every attempt in the sandbox that a gateway here would use, and outside it what any user may do there.

An attempt is held where the kernel denied it (`denied`), or ended the process for it and nothing else (`ended`). One
that worked is `escaped`; one that failed by a mistake of its own is `broken` and shows nothing: both fail the suite.
Those that any user may do are tried without the sandbox too, and have to work there: so they were real attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec

from cloister.sandbox import process
from cloister.sandbox.closure import Engine, StagedEngine, stage
from cloister.sandbox.escapes import files, kernel, probe, processes, sockets
from cloister.sandbox.plan import Plan

ROOMS: Mapping[str, ModuleType] = {"sockets": sockets, "files": files, "processes": processes, "kernel": kernel}
PROBE = Engine("escape-probe", Path(probe.__file__), ())
_SECONDS = 30.0  # for one attempt
_LINE = 64 * 1024  # bytes of one answer

Verdict = Literal["denied", "ended", "escaped", "broken"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt. `outside` is whether it worked without the sandbox; not tried there where `None`."""

    room: str
    name: str
    verdict: Verdict
    how: str
    outside: bool | None = None

    @property
    def held(self) -> bool:
        """Whether the sandbox held, and the attempt shows it."""
        return self.verdict in ("denied", "ended") and self.outside is not False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt by its room and name."""

    room: str
    name: str

    @property
    def line(self) -> bytes:
        """What the probe is told."""
        source = inspect.getsource(ROOMS[self.room])
        return json.dumps({"source": source, "name": self.name}).encode() + b"\n"

    @property
    def anyone_may(self) -> bool:
        """Whether it is tried outside too."""
        return self.name in ROOMS[self.room].OUTSIDE

    @property
    def may_end(self) -> bool:
        """Whether the kernel ends a process that tries it."""
        return self.name in getattr(ROOMS[self.room], "ENDS", ())


def attempts() -> tuple[Attempt, ...]:
    """All of them, room by room."""
    return tuple(Attempt(room, name) for room, module in ROOMS.items() for name in module.ATTEMPTS)


async def try_all(plan: Plan, folder: Path, chosen: Sequence[Attempt]) -> AsyncIterator[Outcome]:
    """Try each attempt in turn, inside and, where anyone may do it, outside.

    Args:
        plan: the profile to be tried.
        folder: ours, and traversable by the sandbox's user; the probe is staged in it.
        chosen: the attempts, of `attempts()`.

    Raises:
        SandboxUnavailable: the sandbox does not start.
    """
    run_folder = folder / "run"
    run_folder.mkdir(mode=0o700)
    inside = _Inside(plan, stage(PROBE, folder / "stage"), run_folder)
    try:
        with unconfined(run_folder) as control:
            for attempt in chosen:
                outside = await asyncio.to_thread(_works, control, attempt) if attempt.anyone_may else None
                verdict, how = await inside.tried(attempt)
                yield Outcome(room=attempt.room, name=attempt.name, verdict=verdict, how=how, outside=outside)
    finally:
        await inside.stop()


class _Inside:
    """The probe in its sandbox, started anew where an attempt ended it."""

    def __init__(self, plan: Plan, staged: StagedEngine, run_folder: Path) -> None:
        self._plan = plan
        self._staged = staged
        self._run_folder = run_folder
        self._engine: process.RunningEngine | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def tried(self, attempt: Attempt) -> tuple[Verdict, str]:
        """The verdict on one attempt, and what says so."""
        engine, reader, writer = await self._running()
        writer.write(attempt.line)
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await reader.readline()
        except TimeoutError:
            await self.stop()
            return "broken", f"no answer within {_SECONDS:g} s"
        if answer:
            return judge(answer)
        await engine.end("its connection ended")
        reason = engine.reason
        await self.stop()
        return ("ended" if attempt.may_end else "broken"), reason

    async def stop(self) -> None:
        """End the probe."""
        if self._streams is not None:
            self._streams[1].close()
        if self._engine is not None:
            await self._engine.stop()
        self._engine = self._streams = None

    async def _running(self) -> tuple[process.RunningEngine, asyncio.StreamReader, asyncio.StreamWriter]:
        if self._engine is None or self._streams is None:
            self._engine = await process.start(self._plan, self._staged, self._run_folder)
            self._streams = await self._engine.connect()
        return (self._engine, *self._streams)


def judge(answer: bytes) -> tuple[Verdict, str]:
    """What the probe's line says; it comes from inside the sandbox, so only its own words are taken."""
    try:
        told = msgspec.json.decode(answer, type=dict[str, str | int | None])
    except msgspec.DecodeError:
        return "broken", "no answer that can be read"
    if "did" in told:
        return "escaped", str(told["did"])
    if "stopped" in told:
        return "denied", str(told["why"])
    return "broken", str(told.get("broken"))


@contextlib.contextmanager
def unconfined(folder: Path) -> Iterator[socket.socket]:
    """A connection to the probe as a plain process of this user's: the control."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as connection:
        address = f"{folder}/control.sock"
        listener.bind(address)
        listener.listen(1)
        probe_process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", "-B", str(PROBE.program)],
            pass_fds=[listener.fileno()],
            env={"LISTEN_FD": str(listener.fileno()), "PATH": os.defpath},
        )
        try:
            connection.settimeout(_SECONDS)
            connection.connect(address)
            yield connection
        finally:
            probe_process.kill()
            probe_process.wait()
            Path(address).unlink()


def _works(control: socket.socket, attempt: Attempt) -> bool:
    control.sendall(attempt.line)
    answer = b""
    while not answer.endswith(b"\n"):
        piece = control.recv(_LINE)
        if not piece:
            return False
        answer += piece
    return judge(answer)[0] == "escaped"
