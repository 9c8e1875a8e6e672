"""The gateway's workers, as its first process keeps them: started, told what changes, started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from cloister.errors import CloisterError
from cloister.ohttp.encapsulation import UnknownKey
from cloister.services.gateway.control import Control, Message, NoKey, Serving, Setup, State, Stop, WantKey, pair
from cloister.services.gateway.keys import KeyRing
from cloister.tee.launch import ENVIRONMENT, measured_python

LOOK_SECONDS = 0.1  # between looks for what has changed
RESTART_SECONDS = 0.2


@dataclass(slots=True)
class _Member:
    """A worker that runs."""

    process: asyncio.subprocess.Process
    control: Control
    told: State | None = None


class Crew:
    """As many workers as `setup` says, on one listener."""

    def __init__(self, setup: Setup, *, keys: KeyRing, state: Callable[[], State]) -> None:
        self._setup = setup
        self._keys = keys
        self._state = state
        self._members: dict[int, _Member] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._first = asyncio.Event()
        self.serving: set[int] = set()  # the numbers of workers that take connections

    async def run(self, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
        """Until `stop` is set; `ready` is called when the first worker takes connections."""
        keeping = [asyncio.create_task(self._keep(number)) for number in range(self._setup.workers)]
        telling = asyncio.create_task(self._tell())
        try:
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([stopping, asyncio.create_task(self._first.wait())], return_when=asyncio.FIRST_COMPLETED)
            ready()
            await stopping
        finally:
            for task in (*keeping, telling):
                task.cancel()
            await asyncio.gather(*keeping, telling, return_exceptions=True)
            await self._end()

    def pids(self) -> list[int]:
        """The processes that run now."""
        return [member.process.pid for member in self._members.values()]

    async def _keep(self, number: int) -> None:
        """Start worker `number`, and another in its place each time it dies."""
        while True:
            self._members[number] = await self._start(number)
            code = await self._members[number].process.wait()
            del self._members[number]
            self.serving.discard(number)
            structlog.get_logger().warning("a worker of the gateway ended; another is started", code=code)
            await asyncio.sleep(RESTART_SECONDS)

    async def _start(self, number: int) -> _Member:
        ours, theirs = pair()
        setup = msgspec.structs.replace(self._setup, worker=number)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *measured_python(), "-m", "cloister.services.gateway.worker", str(theirs.fileno()),
                pass_fds=(theirs.fileno(), setup.listener, setup.replays, setup.counts), env=ENVIRONMENT,
                stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        member = _Member(process, Control(ours, lambda message: self._hear(number, message), lambda: None))
        member.control.send(setup)
        return member

    def _hear(self, number: int, message: Message) -> None:
        if isinstance(message, Serving):
            self.serving.add(number)
            self._first.set()
        elif isinstance(message, WantKey):
            task = asyncio.create_task(self._find(number, message.key_id))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _find(self, number: int, key_id: int) -> None:
        """A key that was found goes to all workers, with everything else that changed."""
        try:
            await self._keys.key_for(key_id)
        except CloisterError as error:
            member = self._members.get(number)
            if member is not None:
                member.control.send(NoKey(key_id, isinstance(error, UnknownKey), str(error)))
        else:
            self._tell_all()

    async def _tell(self) -> None:
        while True:
            self._tell_all()
            await asyncio.sleep(LOOK_SECONDS)

    def _tell_all(self) -> None:
        state = self._state()
        for member in self._members.values():
            if member.told is None or msgspec.structs.replace(member.told, witnessed=state.witnessed) != state:
                member.control.send(state)
                member.told = state

    async def _end(self) -> None:
        members = list(self._members.values())
        for member in members:
            member.control.send(Stop())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._setup.grace_seconds):
                await asyncio.gather(*(member.process.wait() for member in members))
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                member.process.kill()
            await member.process.wait()
            member.control.close()
