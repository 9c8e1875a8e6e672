"""Connections to the sandboxed engines, opened ahead: an engine serves each in a process of its own, for one request.

Closing one kills what still works on it, so a request that nobody waits for any more costs the engine nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final

from cloister.errors import CloisterError
from cloister.sandbox.process import RunningEngine
from cloister.sandbox.service import EngineService
from cloister.services.gateway.engine_link import EngineLink

CONNECT_SECONDS: Final = 5.0


class SandboxEngines:
    """Hears from the engine service which engines are ready; as many requests at once as there are processors."""

    def __init__(self, service: EngineService) -> None:
        self._service = service
        self._at_once = len(os.sched_getaffinity(0))
        self._idle: list[EngineLink] = []
        self._engines: dict[EngineLink, RunningEngine] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._supplied: Callable[[], None] = lambda: None
        service.on_ready = self._engine_is_ready

    def take(self) -> EngineLink | None:
        """A connection to an idle engine, if there is one."""
        while self._idle:
            link = self._idle.pop(0)  # in turn
            if link.usable:
                return link
        return None

    def wanted(self, supplied: Callable[[], None], failed: Callable[[CloisterError], None]) -> None:  # noqa: ARG002
        """Call `supplied` when an engine is idle again; that there never will be one cannot be known."""
        self._supplied = supplied

    def give_back(self, link: EngineLink, *, reusable: bool) -> None:
        """Keep the connection, if it can serve another request; else the next is opened when it has ended."""
        if link.answered and link in self._engines:
            self._engines[link].served += 1
        if reusable:
            self._idle.append(link)

    def missing(self) -> Sequence[str]:
        """What is lacking before an engine can serve, in words."""
        return self._service.missing()

    def close(self) -> None:
        """Close what is open."""
        for task in self._connecting:
            task.cancel()
        for link in list(self._engines):
            link.close()

    def _engine_is_ready(self, engine: RunningEngine) -> None:
        for _ in range(self._at_once):
            self._open(engine)

    def _open(self, engine: RunningEngine) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(engine))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, engine: RunningEngine) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.sock_connect(sock, engine.address)
                _, link = await loop.create_unix_connection(lambda: EngineLink(sock, self._ended), sock=sock)
        except (OSError, TimeoutError):
            sock.close()
            engine.kill("it took no connections")
            return
        self._engines[link] = engine
        self._idle.append(link)
        self._supplied()

    def _ended(self, link: EngineLink) -> None:
        if link in self._idle:
            self._idle.remove(link)
        engine = self._engines.pop(link, None)
        if engine is not None and not engine.ended.is_set():
            self._open(engine)
