"""One listening socket of an HTTP/1.1 server and the connections it has: a sweep of their deadlines, and an end.

What a connection speaks is `http_server_connection`'s (a coroutine for each request) or `http_inbound`'s (callbacks).
"""

from __future__ import annotations

import abc
import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final, Generic, Protocol, TypeVar

from cloister.hosting.accepting import Accepting, HandshakeLimits, accept
from cloister.hosting.loopback import GRACE_SECONDS
from cloister.hosting.tls import TlsServer

SWEEP_SECONDS: Final = 0.25  # how finely timeouts are kept
LAST_SECONDS: Final = 1.0  # in which idle connections may be asked once more, where there is time for it
_LOOK_SECONDS: Final = 0.02


class Connection(Protocol):
    """A client's, as its server sees it."""

    def check_deadlines(self, now: float) -> None:
        """Called every `SWEEP_SECONDS`: what is awaited must come, and what is unsent must go."""

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is under way."""

    def abort(self) -> None:
        """Close at once; what was not yet sent is lost."""


AnyConnection = TypeVar("AnyConnection", bound=Connection)


@dataclass(slots=True, eq=False, kw_only=True)
class ListenerState(Generic[AnyConnection]):
    """What all connections of one server share."""

    tls: TlsServer | None = None
    connections: set[AnyConnection] = field(default_factory=set)
    leaving: bool = False  # each connection closes after its next answer, which says so
    closing: bool = False  # and no new one is taken
    date: bytes = b""  # now, as the Date header says it


class Listener(abc.ABC):
    """One listening socket (TCP or unix) and the connections it has."""

    def __init__(
        self, state: ListenerState[Any], protocol: Callable[[], asyncio.BaseProtocol], handshakes: HandshakeLimits
    ) -> None:
        """`protocol` makes a connection, which enters and leaves `state` by itself."""
        self._listening = state
        self._protocol = protocol
        self._handshakes = handshakes
        self._server: Accepting | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections."""
        self._sweep()
        self._server = await accept(listener, self._protocol, self._listening.tls, self._handshakes)

    async def close(self, grace_seconds: float) -> None:
        """Accept no more, let requests in flight end for `grace_seconds`, then cut them off.

        Who has more time than `GRACE_SECONDS` is being replaced, rather than ended: then idle connections stay open for
        a moment, so that a request that is just being written on one does not meet a connection that closes.
        """
        self._listening.leaving = True
        if self._server is not None:
            self._server.close()
        last = min(LAST_SECONDS, max(0.0, grace_seconds - GRACE_SECONDS))
        await self._let_be_asked(last)
        self._listening.closing = True
        for connection in list(self._listening.connections):
            connection.close_when_idle()
        await self._let_end(grace_seconds - last)
        if self._timer is not None:
            self._timer.cancel()

    async def _let_be_asked(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while self._listening.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - as `_let_end`
            await asyncio.sleep(_LOOK_SECONDS)

    @abc.abstractmethod
    async def _let_end(self, grace_seconds: float) -> None:
        """Let requests in flight end for `grace_seconds`, then `_cut_off` what is left."""

    def _cut_off(self) -> None:
        for connection in list(self._listening.connections):
            connection.abort()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._listening.date = formatdate(usegmt=True).encode()
        now = loop.time()
        for connection in list(self._listening.connections):
            connection.check_deadlines(now)
        self._timer = loop.call_later(SWEEP_SECONDS, self._sweep)
