"""Connections to engines that serve each one in a process of its own, for one request: opened ahead, opened anew.

Closing one kills what still works on it, so a request that nobody waits for any more costs the engine nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from cloister.errors import CloisterError
from cloister.services.gateway.engine_link import EngineLink

CONNECT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.1
_LONGEST_RETRY_SECONDS: Final = 5.0


class ForkingEngines:
    """As many requests of each engine at once as it is said."""

    def __init__(self, at_once: int, *, missing: Callable[[], Sequence[str]]) -> None:
        """`missing` says in words what the engines lack before they can serve."""
        self.missing = missing
        self._at_once = at_once
        self._idle: list[EngineLink] = []
        self._addresses: dict[EngineLink, str] = {}
        self._alive: set[str] = set()
        self._unasked: dict[str, int] = {}  # how many connections in a row an engine has ended that were never asked
        self._connecting: set[asyncio.Task[None]] = set()
        self._supplied: Callable[[], None] = lambda: None

    def add(self, address: str) -> None:
        """An engine is ready behind the unix socket `address`."""
        self._alive.add(address)
        for _ in range(self._at_once):
            self._open(address)

    def remove(self, address: str) -> None:
        """It is to be asked no more; what it works on, it may end."""
        self._alive.discard(address)
        self._unasked.pop(address, None)
        for link in [link for link in self._idle if self._addresses[link] == address]:
            self._idle.remove(link)
            link.close()

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

    def give_back(self, link: EngineLink, *, reusable: bool) -> None:  # noqa: ARG002 - that is for us to say
        """End the connection; the next is opened when it has ended.

        Whatever the process behind it says: one that has fallen to its request would be given the next one's.
        """
        link.close()

    def close(self) -> None:
        """Close what is open."""
        self._alive.clear()
        for task in self._connecting:
            task.cancel()
        for link in list(self._addresses):
            link.close()

    def _open(self, address: str) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(address))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        if ended := self._unasked.get(address, 0):
            await asyncio.sleep(min(_RETRY_SECONDS * 2 ** min(ended, 6), _LONGEST_RETRY_SECONDS))
        while address in self._alive:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await loop.sock_connect(sock, address)
                    _, link = await loop.create_unix_connection(lambda: EngineLink(sock, self._ended), sock=sock)  # noqa: B023
            except (OSError, TimeoutError):
                sock.close()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._addresses[link] = address
            self._idle.append(link)
            self._supplied()
            return

    def _ended(self, link: EngineLink) -> None:
        unasked = link in self._idle
        if unasked:
            self._idle.remove(link)
        address = self._addresses.pop(link, None)
        if address in self._alive:
            self._unasked[address] = self._unasked.get(address, 0) + 1 if unasked else 0
            self._open(address)
