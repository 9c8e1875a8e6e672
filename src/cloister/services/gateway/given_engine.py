"""The gateway's engine with what its parties gave the task, and another in its place where that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cloister.contract.task_assets import NO_ASSETS, VerifiedTaskAssets
from cloister.sandbox.process import RunningEngine
from cloister.sandbox.service import EngineService

Make = Callable[[VerifiedTaskAssets], EngineService]
Told = Callable[[RunningEngine], object]


class GivenEngine:
    """One engine service at a time, but for the one of before, which ends what it has begun."""

    def __init__(self, make: Make, *, waits: bool, grace_seconds: float) -> None:
        """`waits`: the task has sections, or a sealed model, so that nothing starts before these are here.

        `grace_seconds` are for requests that an engine works on when another takes its place.
        """
        self._make = make
        self._waits = waits
        self._grace_seconds = grace_seconds
        self._service: EngineService | None = None
        self._coming: EngineService | None = None  # started, and not ready yet
        self._given: VerifiedTaskAssets | None = None
        self._ready: Told = lambda _: None
        self._ended: Told = lambda _: None
        self._alive: list[RunningEngine] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()

    def follow(self, ready: Told, ended: Told) -> None:
        """Tell of each engine when it can be asked, and when it is to be asked no more."""
        self._ready, self._ended = ready, ended

    async def start(self) -> None:
        """Start it, unless it waits for what the parties give.

        Raises:
            SandboxUnavailable: this machine cannot hold it, or it does not become ready.
        """
        if not self._waits:
            await self.take(NO_ASSETS)

    async def take(self, given: VerifiedTaskAssets) -> None:
        """Return when an engine that has just `given` can be asked; the one of before is asked no more.

        Raises:
            CloisterError: as `start`, or its model does not open; what ran goes on, and nobody asks it without a key
                of its contract.
        """
        async with self._starting:
            if self._given == given:
                return
            before, others = self._service, tuple(self._alive)
            service = self._coming = self._make(given)
            service.on_ready = self._on_ready
            try:
                await service.start()
            except BaseException:
                await service.stop()  # it may have begun
                raise
            finally:
                self._coming = None
            await asyncio.sleep(0)  # it is offered by tasks of its own, and before the one of before is taken away
            self._service, self._given = service, given
            for engine in others:
                self._gone(engine)
            if before is not None:
                before.on_ready = _offered_to_nobody  # one that it starts anew has what was given before, too
                self._keep(asyncio.create_task(self._retire(before)))

    def withdraw(self) -> None:
        """End what runs when it has ended what it works on: its task may not use what it was given any more."""
        before, self._service, self._given = self._service, None, None
        for engine in tuple(self._alive):
            self._gone(engine)
        if before is not None:
            before.on_ready = _offered_to_nobody
            self._keep(asyncio.create_task(self._retire(before)))

    def missing(self) -> Sequence[str]:
        """What lacks before it can serve, in words."""
        service = self._service or self._coming
        if service is None:
            return ("the engine, which starts with the assets of its task",) if self._waits else ("the engine",)
        return service.missing()

    async def stop(self) -> None:
        """End all engines."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._service is not None:
            await self._service.stop()

    async def _retire(self, service: EngineService) -> None:
        try:
            await asyncio.sleep(self._grace_seconds)
        finally:
            await service.stop()

    def _on_ready(self, engine: RunningEngine) -> None:
        self._alive.append(engine)
        self._ready(engine)
        self._keep(asyncio.create_task(self._watch(engine)))

    async def _watch(self, engine: RunningEngine) -> None:
        await engine.ended.wait()
        self._gone(engine)

    def _gone(self, engine: RunningEngine) -> None:
        if engine in self._alive:
            self._alive.remove(engine)
            self._ended(engine)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _offered_to_nobody(_engine: RunningEngine) -> None:
    """What an engine service does with engines once another has taken its place."""
