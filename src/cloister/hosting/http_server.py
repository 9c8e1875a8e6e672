"""A lean HTTP/1.1 server: one coroutine a request, capped, timed, kept alive.

The handler is called when the head is complete and reads the body itself, so that it can refuse before any of it has
arrived. Not spoken: HTTP/1.0, upgrades, pipelining (the connection closes after the first answer).
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from cloister.hosting.accepting import HandshakeLimits
from cloister.hosting.http_exchange import Handler, Limits
from cloister.hosting.http_listener import Listener
from cloister.hosting.http_server_connection import ServerConnection, ServerState
from cloister.hosting.loopback import announce, port_of
from cloister.hosting.tls import TlsServer, renewing


async def serve_http(
    handler: Handler,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    limits: Limits | None = None,
    ready: Path | int | None = None,
    tls: TlsServer | None = None,
) -> None:
    """Serve `handler` on `listener` until `stop` is set, then let requests in flight end in their time."""
    limits = limits or Limits()
    server = HttpServer(handler, limits, tls)
    await server.start(listener)
    try:
        if listener.family != socket.AF_UNIX:
            announce(port_of(listener), ready)
        async with renewing([] if tls is None else [tls.shown]):
            await stop.wait()
    finally:
        await server.close(limits.grace_seconds)


class HttpServer(Listener):
    """A handler on one listening socket."""

    def __init__(self, handler: Handler, limits: Limits, tls: TlsServer | None = None) -> None:
        self._state = ServerState(handler, limits, tls=tls)
        handshakes = HandshakeLimits(limits.connections, limits.head_seconds, limits.write_seconds)
        super().__init__(self._state, lambda: ServerConnection(self._state), handshakes)

    async def _let_end(self, grace_seconds: float) -> None:
        tasks = {
            task
            for connection in self._state.connections
            for task in (connection.task, *connection.ending)
            if task is not None
        }
        if tasks:
            await asyncio.wait(tasks, timeout=grace_seconds)
        self._cut_off()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
