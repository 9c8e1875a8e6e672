"""A callback HTTP/1.1 server on one listening socket: its sweep of deadlines, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Final

from cloister.hosting.fault import tell_of_fault
from cloister.hosting.http_inbound import InboundConnection
from cloister.hosting.http_inbound_state import InboundLimits, InboundState, Service
from cloister.hosting.tls import TlsServer, renewing

SWEEP_SECONDS: Final = 0.25  # how finely timeouts are kept
_LOOK_SECONDS: Final = 0.02


@contextlib.asynccontextmanager
async def serving(
    service: Service,
    listener: socket.socket,
    *,
    limits: InboundLimits,
    grace_seconds: float,
    tls: TlsServer | None = None,
) -> AsyncIterator[None]:
    """Serve within the context; at its end requests in flight have `grace_seconds` to end, then they are cut off."""
    server = InboundServer(service, limits, tls)
    asyncio.get_running_loop().set_exception_handler(tell_of_fault)
    await server.start(listener)
    try:
        async with renewing([] if tls is None else [tls.shown]):
            yield
    finally:
        await server.close(grace_seconds)


class InboundServer:
    """A service on one listening socket (TCP or unix) and the connections it has."""

    def __init__(self, service: Service, limits: InboundLimits, tls: TlsServer | None = None) -> None:
        self._state = InboundState(service, limits, tls)
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections."""
        self._sweep()
        loop = asyncio.get_running_loop()
        context = None if self._state.tls is None else self._state.tls.shown.context
        self._server = await loop.create_server(lambda: InboundConnection(self._state), sock=listener, ssl=context)

    async def close(self, grace_seconds: float) -> None:
        """Accept no more, let requests in flight end for `grace_seconds`, then cut them off."""
        connections = self._state.connections
        self._state.closing = True
        if self._server is not None:
            self._server.close()
        for connection in list(connections):
            connection.close_when_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while connections:  # noqa: ASYNC110 - a connection's end sets no event on the hot path
                    await asyncio.sleep(_LOOK_SECONDS)
        for connection in list(connections):
            connection.cut_off()
        await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._state.date = formatdate(usegmt=True).encode()
        now = loop.time()
        for connection in list(self._state.connections):
            connection.check_deadlines(now)
        self._timer = loop.call_later(SWEEP_SECONDS, self._sweep)
