"""A callback HTTP/1.1 server on one listening socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Final

from cloister.hosting.accepting import HandshakeLimits
from cloister.hosting.fault import tell_of_fault
from cloister.hosting.http_inbound import InboundConnection, Service
from cloister.hosting.http_inbound_state import InboundLimits, InboundState
from cloister.hosting.http_listener import Listener
from cloister.hosting.tls import TlsServer, renewing

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


class InboundServer(Listener):
    """A service on one listening socket."""

    def __init__(self, service: Service, limits: InboundLimits, tls: TlsServer | None = None) -> None:
        self._state = InboundState(limits, tls=tls)
        handshakes = HandshakeLimits(limits.connections, limits.head_seconds, limits.write_seconds)
        super().__init__(self._state, lambda: InboundConnection(service, self._state), handshakes)

    async def _let_end(self, grace_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                while self._state.connections:  # noqa: ASYNC110 - a connection's end sets no event on the hot path
                    await asyncio.sleep(_LOOK_SECONDS)
        self._cut_off()
        await asyncio.sleep(0)
