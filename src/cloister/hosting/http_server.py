"""A lean HTTP/1.1 server: one coroutine a request, capped, timed, kept alive.

The handler is called when the head is complete and reads the body itself, so that it can refuse before any of it has
arrived. Not spoken: HTTP/1.0, upgrades, pipelining (the connection closes after the first answer).
"""

from __future__ import annotations

import asyncio
import socket
from email.utils import formatdate
from pathlib import Path

from cloister.hosting.http_exchange import Handler, Limits
from cloister.hosting.http_server_connection import SWEEP_SECONDS, ServerConnection, ServerState
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


class HttpServer:
    """A handler on one listening socket (TCP or unix) and the connections it has."""

    def __init__(self, handler: Handler, limits: Limits, tls: TlsServer | None = None) -> None:
        self._state = ServerState(handler, limits, tls)
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections."""
        self._sweep()
        loop = asyncio.get_running_loop()
        context = None if self._state.tls is None else self._state.tls.shown.context
        self._server = await loop.create_server(lambda: ServerConnection(self._state), sock=listener, ssl=context)

    async def close(self, grace_seconds: float) -> None:
        """Accept no more, let requests in flight end for `grace_seconds`, then cut them off."""
        connections = self._state.connections
        self._state.closing = True
        if self._server is not None:
            self._server.close()
        for connection in list(connections):
            connection.close_when_idle()
        tasks = {connection.task for connection in connections if connection.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=grace_seconds)
        for connection in list(connections):
            connection.abort()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._state.date = formatdate(usegmt=True).encode()
        now = loop.time()
        for connection in list(self._state.connections):
            connection.check_deadlines(now)
        self._timer = loop.call_later(SWEEP_SECONDS, self._sweep)
