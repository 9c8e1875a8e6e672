"""Runs a Starlette application with uvicorn until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from cloister.errors import Unavailable
from cloister.hosting.accepting import Accepting, HandshakeLimits, accept
from cloister.hosting.guarded_protocol import GuardedConfig, GuardedProtocol
from cloister.hosting.loopback import LOOPBACK, announce, listen, port_of, run_until_stopped
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.tls import TlsServer, renewing


def serve(app: ASGIApp, *, port: int, ready: Path | int | None = None, address: str = LOOPBACK) -> None:
    """Serve `app` until SIGTERM or SIGINT, then let requests in flight end for `GRACE_SECONDS`.

    Raises:
        UsageError: the address is not the loopback's.
        Unavailable: the port is taken, or the application's start-up failed.
    """
    listener = listen(address, port)

    async def main(stop: asyncio.Event) -> None:
        await serve_until(app, listener, stop, ready=ready)

    run_until_stopped(main)


async def serve_until(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    ready: Path | int | None = None,
    limits: ServiceLimits | None = None,
    tls: TlsServer | None = None,
) -> None:
    """Serve `app` on `listener` until `stop` is set; `ready` is announced when the start-up is over.

    Raises:
        Unavailable: the application's start-up failed.
    """
    server = _Server(GuardedConfig(app, limits or ServiceLimits(), tls), ready)
    stopping = asyncio.create_task(_stop(server, stop))
    try:
        async with renewing([] if tls is None else [tls.shown]):
            await server.serve([listener])
    except SystemExit as error:  # uvicorn's word for a start-up that failed
        raise Unavailable("the service's start-up failed; its log says why") from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not stop.is_set() or server.started or task is None:
            raise
        task.uncancel()  # a start-up that was still waiting for something when the stop came
    finally:
        stopping.cancel()
        listener.close()


async def _stop(server: _Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
    if not server.started and server.task is not None:
        server.task.cancel()


class _Server(uvicorn.Server):
    """Announces its start; leaves signals to `run_until_stopped` (uvicorn would raise them again after the stop)."""

    def __init__(self, config: GuardedConfig, ready: Path | int | None) -> None:
        super().__init__(config)
        self._ready = ready
        self.task = asyncio.current_task()
        self._guarded = config
        self._accepting: list[Accepting] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # uvicorn's own listening knows no bounds for TLS handshakes
        limits = self._guarded.limits
        handshakes = HandshakeLimits(limits.connections, limits.head_seconds, limits.answer_seconds)
        for listener in sockets or []:
            self._accepting.append(await accept(listener, self._connection, self._guarded.tls, handshakes))
            announce(port_of(listener), self._ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for accepting in self._accepting:
            accepting.close()
        await super().shutdown(sockets)

    def _connection(self) -> GuardedProtocol:
        return GuardedProtocol(self._guarded, self.server_state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
