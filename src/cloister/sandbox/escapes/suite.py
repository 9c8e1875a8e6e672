"""Tries every attempt in the sandbox that a gateway here would use, and outside it what any user may do there.

An attempt is held where the kernel denied it (`denied`), or ended the process for it and nothing else (`ended`). One
that worked is `escaped`: only those may that the sandbox's tier does not deny, and they have to, or the tier would be
described wrongly. One that its confinement leaves to the engine is `allowed` where it works, as docs/sandbox.md says.
One that failed by a mistake of its own is `broken` and shows nothing. Those that any user may do are tried without the
sandbox too, and have to work there: so they were real attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import mmap
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec
from msgspec import structs

from cloister.formats.contract import TIERS, Tier
from cloister.sandbox import process
from cloister.sandbox.closure import Engine, StagedEngine, stage
from cloister.sandbox.escapes import files, kernel, model, probe, processes, sockets, traces
from cloister.sandbox.model import FileTarget
from cloister.sandbox.plan import Plan
from cloister.sandbox.profile import Limits, SandboxProfile

ROOMS: Mapping[str, ModuleType] = {
    "sockets": sockets,
    "files": files,
    "processes": processes,
    "kernel": kernel,
    "traces": traces,
    "model": model,
}
PROBE = Engine("escape-probe", Path(probe.__file__), ())
_SECONDS = 30.0  # for one attempt
_LINE = 64 * 1024  # bytes of one answer

Verdict = Literal["denied", "ended", "allowed", "escaped", "broken"]


class SampleModel:
    """A model to fill in, of one file."""

    files: Sequence[tuple[str, int]] = (("weights", 64 * 1024),)

    def open_into(self, targets: Iterator[FileTarget]) -> None:
        """Write something that is not nothing."""
        for (_, size), target in zip(self.files, targets, strict=True):
            target.write(0, memoryview(b"w" * size))
            target.filled()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one attempt. `outside` is whether it worked without the sandbox; not tried there where `None`."""

    room: str
    name: str
    verdict: Verdict
    how: str
    outside: bool | None = None
    due: bool = True  # whether the sandbox's tier denies it

    @property
    def held(self) -> bool:
        """Whether the sandbox held as its tier and confinement say, and the attempt shows it."""
        expected = ("denied", "ended", "allowed") if self.due else ("escaped",)
        return self.verdict in expected and self.outside is not False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt by its room and name."""

    room: str
    name: str

    def line(self, limits: Limits) -> bytes:
        """What the probe is told."""
        source = inspect.getsource(ROOMS[self.room])
        allowed = {name: value for name, value in structs.asdict(limits).items() if isinstance(value, int)}
        return json.dumps({"source": source, "name": self.name, "allowed": allowed}).encode() + b"\n"

    @property
    def anyone_may(self) -> bool:
        """Whether it is tried outside too."""
        return self.name in ROOMS[self.room].OUTSIDE

    def is_left_to(self, profile: SandboxProfile) -> bool:
        """Whether an engine that is held so may do it."""
        room, confinement = ROOMS[self.room], profile.confinement
        server = confinement != "worker" and self.name in getattr(room, "LEFT_TO_A_SERVER", ())
        own = (
            profile.tier == "kernel" and confinement != "worker" and self.name in getattr(room, "OF_ITS_OWN_KERNEL", ())
        )
        return server or own or (confinement == "loopback" and self.name in getattr(room, "LEFT_ON_LOOPBACK", ()))

    @property
    def compared(self) -> bool:
        """Whether it worked only where it tells the same as outside."""
        return self.name in getattr(ROOMS[self.room], "COMPARED", ())

    @property
    def denied_from(self) -> Tier:
        """The lowest tier that denies it."""
        tier: Tier = getattr(ROOMS[self.room], "DENIED_FROM", {}).get(self.name, TIERS[0])
        return tier

    @property
    def may_end(self) -> bool:
        """Whether the kernel ends a process that tries it."""
        return self.name in getattr(ROOMS[self.room], "ENDS", ())


def attempts(*, on_model: bool = False) -> tuple[Attempt, ...]:
    """All of them, room by room; those on a model where the plan has a place for one (`SampleModel`)."""
    rooms = ROOMS if on_model else {room: module for room, module in ROOMS.items() if room != "model"}
    return tuple(Attempt(room, name) for room, module in rooms.items() for name in module.ATTEMPTS)


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
    limits = plan.profile.limits
    inside = _Inside(plan, stage(PROBE, folder / "stage"), run_folder)
    try:
        with unconfined(run_folder) as control:
            for attempt in chosen:
                outside = await asyncio.to_thread(_outside, control, attempt, limits) if attempt.anyone_may else None
                verdict, how = await inside.tried(attempt)
                if attempt.compared and outside is not None and how != outside[1]:
                    verdict, how = "denied", f"the sandbox's own: {how}"
                if verdict == "escaped" and attempt.is_left_to(plan.profile):
                    verdict = "allowed"
                yield Outcome(
                    room=attempt.room,
                    name=attempt.name,
                    verdict=verdict,
                    how=how,
                    outside=None if outside is None else outside[0] == "escaped",
                    due=TIERS.index(plan.profile.tier) >= TIERS.index(attempt.denied_from),
                )
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
        writer.write(attempt.line(self._plan.profile.limits))
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
            sample = SampleModel() if self._plan.profile.limits.model_bytes else None
            self._engine = await process.start(self._plan, self._staged, self._run_folder, model=sample)
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
    weights = folder / "model" / "weights"
    weights.parent.mkdir()
    weights.write_bytes(b"w" * mmap.PAGESIZE)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as connection:
        address = f"{folder}/control.sock"
        listener.bind(address)
        listener.listen(1)
        probe_process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", "-B", str(PROBE.program)],
            pass_fds=[listener.fileno()],
            env={"LISTEN_FD": str(listener.fileno()), "PATH": os.defpath, "MODEL": str(weights.parent)},
        )
        try:
            connection.settimeout(_SECONDS)
            connection.connect(address)
            yield connection
        finally:
            probe_process.kill()
            probe_process.wait()
            Path(address).unlink()
            shutil.rmtree(weights.parent)


def _outside(control: socket.socket, attempt: Attempt, limits: Limits) -> tuple[Verdict, str]:
    control.sendall(attempt.line(limits))
    answer = b""
    while not answer.endswith(b"\n"):
        piece = control.recv(_LINE)
        if not piece:
            return "broken", "the control ended"
        answer += piece
    return judge(answer)
