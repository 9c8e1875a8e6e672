"""Engines kept running: each request goes to an idle one, what hangs is given up, what ended restarts after a while.

An engine serves each request in a process of its own, which ends with it and is killed when its connection is closed:
a crash, a hang or an overrun costs that request alone, and the engine goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from time import monotonic

from cloister.contract.sections import NO_SECTIONS, VerifiedSections
from cloister.errors import CloisterError
from cloister.formats.binary_http import Request, Response
from cloister.sandbox import process
from cloister.sandbox.closure import StagedEngine
from cloister.sandbox.errors import EngineBusy, EngineCrashed, EngineTimedOut, SandboxUnavailable
from cloister.sandbox.exchange import exchange
from cloister.sandbox.model import ModelSource
from cloister.sandbox.plan import Plan
from cloister.sandbox.process import RunningEngine

_STEADY_SECONDS = 10  # an engine that ran for longer is restarted at once
_BACKOFF_SECONDS = (0.0, 0.1, 0.5, 2.0, 5.0)
_SELFTEST = Request("GET", "http", "engine", "/selftest")  # answers 200 when the engine does its work on a known sample

Say = Callable[[str], None]


@dataclass(slots=True, eq=False)
class _Seat:
    """An engine with the connection that is kept to it."""

    engine: RunningEngine
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def reconnect(self) -> bool:
        """A connection for the next request; what still works on the last one is killed. False if the engine ended."""
        self.writer.close()
        try:
            self.reader, self.writer = await self.engine.connect()
        except OSError:
            self.engine.kill("it closed its socket")
            return False
        if self.engine.ended.is_set():  # meanwhile: nobody else will close what was just opened
            self.writer.close()
            return False
        return True

    async def clear(self) -> None:
        """End the engine, if it has not, and remove what is left."""
        self.writer.close()
        await self.engine.stop()


@dataclass(slots=True)
class EngineService:
    """`workers` sandboxes of one engine.

    Args:
        plan: the profile; its `request_seconds` bound each request.
        staged: the engine.
        run_folder: for sockets; ours alone.
        workers: how many requests are served at once.
        waiting_seconds: how long a request may wait for an idle engine.
        say: told of each end and restart, in a sentence without any user's content.
        on_ready: told of each engine that can be asked; then `ask` is not to be used.
        given: what the sections of its task hold; each engine gets it.
        model: what is opened into each engine's memory before its program begins.
    """

    plan: Plan
    staged: StagedEngine
    run_folder: Path
    workers: int = 1
    waiting_seconds: float = 30
    say: Say = lambda _: None
    on_ready: Callable[[RunningEngine], None] | None = None  # who asks the engines, if it is not `ask`
    given: VerifiedSections = NO_SECTIONS
    model: ModelSource | None = None
    _idle: asyncio.Queue[_Seat] = field(default_factory=asyncio.Queue)
    _keepers: list[asyncio.Task[None]] = field(default_factory=list)
    _seats: set[_Seat] = field(default_factory=set)
    _returning: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Start all engines and wait until they are ready.

        Raises:
            SandboxUnavailable: one could not be confined, or did not become ready; none is left running.
            CloisterError: the model could not be opened; none is left running.
        """
        try:
            seats = [await self._seat() for _ in range(self.workers)]
        except CloisterError:
            await self.stop()
            raise
        self._keepers = [asyncio.create_task(self._keep(seat)) for seat in seats]

    async def stop(self) -> None:
        """End all engines; requests under way fail with `EngineCrashed`."""
        tasks = (*self._keepers, *self._returning)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(seat.clear() for seat in self._seats))
        self._seats.clear()

    def missing(self) -> Sequence[str]:
        """What is lacking before it can serve, in words; empty when it is ready."""
        alive = any(seat.engine.proven and not seat.engine.ended.is_set() for seat in self._seats)
        return () if alive else (f"the engine {self.staged.name} is starting",)

    async def ask(self, request: Request, *, seconds: float) -> Response:
        """The engine's answer to `request`, within `seconds` and the profile's own limit.

        Raises:
            EngineBusy: no engine became idle in time.
            EngineCrashed: what served it ended, or answered what is not HTTP.
            EngineTimedOut: it did not answer in time.
        """
        seat = await self._next()
        seconds = min(seconds, self.plan.profile.limits.request_seconds)
        try:
            async with asyncio.timeout(seconds):
                reply, _ = await exchange(seat.reader, seat.writer, request)
        except TimeoutError as error:
            raise EngineTimedOut(f"the engine did not answer within {seconds:g} s") from error
        except EngineCrashed as error:
            raise EngineCrashed(f"the engine failed this request: {error}; try again") from error
        finally:
            seat.writer.close()  # now, whatever becomes of this task: it kills what still works
            returning = asyncio.create_task(self._take_back(seat))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
        seat.engine.served += 1
        return reply

    async def _take_back(self, seat: _Seat) -> None:
        if await seat.reconnect():
            self._idle.put_nowait(seat)

    async def _next(self) -> _Seat:
        try:
            async with asyncio.timeout(self.waiting_seconds):
                while (seat := await self._idle.get()).engine.ended.is_set():
                    pass  # it ended while it was idle; its keeper brings another
        except TimeoutError as error:
            raise EngineBusy("every engine is at work, or restarting; try again") from error
        return seat

    def _offer(self, seat: _Seat) -> None:
        if self.on_ready is None:
            self._idle.put_nowait(seat)
        else:
            self.on_ready(seat.engine)

    async def _keep(self, seat: _Seat) -> None:
        """Bring another engine each time this one ends, later each time it ends without having served."""
        failures = 0
        while True:
            self._offer(seat)
            began = monotonic()
            await seat.engine.ended.wait()
            steady = seat.engine.served or monotonic() - began > _STEADY_SECONDS
            failures = 0 if steady else failures + 1
            self.say(f"the engine {self.staged.name} ended: {seat.engine.reason}; restarting")
            await seat.clear()
            self._seats.discard(seat)
            seat = await self._another(failures)

    async def _another(self, failures: int) -> _Seat:
        while True:
            await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
            try:
                return await self._seat()
            except CloisterError as error:
                failures += 1
                self.say(f"the engine {self.staged.name} did not start: {error}")

    async def _seat(self) -> _Seat:
        engine = await process.start(self.plan, self.staged, self.run_folder, self.given, self.model)
        seat = _Seat(engine, *await engine.connect())
        self._seats.add(seat)
        try:
            async with asyncio.timeout(self.staged.ready_seconds):
                await _test(seat)
        except (TimeoutError, EngineCrashed) as error:
            await engine.end(str(error) or f"it was not ready within {self.staged.ready_seconds} s")
            await seat.clear()
            self._seats.discard(seat)
            raise SandboxUnavailable(f"the engine did not become ready: {engine.reason}") from error
        return seat


async def _test(seat: _Seat) -> None:
    """Have the engine do its work on its known sample.

    Raises:
        EngineCrashed: it does not, or has ended.
    """
    reply, _ = await exchange(seat.reader, seat.writer, _SELFTEST)
    if reply.status != HTTPStatus.OK or not await seat.reconnect():
        raise EngineCrashed("it fails its self-test")
    seat.engine.proven = True
