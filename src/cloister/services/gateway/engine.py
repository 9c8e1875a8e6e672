"""The plainest supply of engines: one HTTP server on a unix socket that takes several connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from cloister.errors import CloisterError
from cloister.services.gateway.engine_link import EngineFailed, EngineLink

CONNECT_SECONDS: Final = 5.0


class SocketEngine:
    """An engine behind a unix socket, of which at most `connections` are open at a time."""

    def __init__(self, socket_path: str, *, connections: int = 16) -> None:
        self._path = socket_path
        self._connections = connections
        self._open = 0
        self._idle: list[EngineLink] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._when_one_ends: Callable[[], None] | None = None

    def take(self) -> EngineLink | None:
        """A kept connection, if one is idle."""
        while self._idle:
            link = self._idle.pop()
            if link.usable:
                return link
        return None

    def wanted(self, supplied: Callable[[], None], failed: Callable[[CloisterError], None]) -> None:
        """Open another connection, if there may be one more."""
        if self._open >= self._connections:
            self._when_one_ends = supplied
            return
        self._open += 1
        task = asyncio.get_running_loop().create_task(self._connect(supplied, failed))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def give_back(self, link: EngineLink, *, reusable: bool) -> None:
        """Keep it for the next."""
        if reusable:
            self._idle.append(link)

    def missing(self) -> Sequence[str]:
        """Nothing that can be seen without asking."""
        return ()

    async def close(self) -> None:
        """Close what is open."""
        for task in self._connecting:
            task.cancel()
        for link in self._idle:
            link.close()
        await asyncio.sleep(0)

    async def _connect(self, supplied: Callable[[], None], failed: Callable[[CloisterError], None]) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.sock_connect(sock, self._path)
                _, link = await loop.create_unix_connection(lambda: EngineLink(sock, self._ended), sock=sock)
        except (OSError, TimeoutError):
            sock.close()
            self._open -= 1
            failed(EngineFailed("the engine takes no connections"))
            return
        self._idle.append(link)
        supplied()

    def _ended(self, link: EngineLink) -> None:
        self._open -= 1
        if link in self._idle:
            self._idle.remove(link)
        supplied, self._when_one_ends = self._when_one_ends, None
        if supplied is not None:
            supplied()
