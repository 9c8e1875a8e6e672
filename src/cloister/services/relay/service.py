"""The relay's life from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from cloister.hosting import logs
from cloister.hosting.accepting import HandshakeLimits, accept
from cloister.hosting.listening import listen_to_everyone
from cloister.hosting.loopback import announce, port_of, run_until_stopped
from cloister.hosting.tls import renewing
from cloister.services.relay.admin import Admin
from cloister.services.relay.client_connection import ClientConnection
from cloister.services.relay.relay import Relay
from cloister.services.relay.settings import RelaySettings


def run(settings: RelaySettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UsageError: a setting makes no sense: a URL, a certificate, no gateway.
        Unavailable: the port is taken.
    """
    logs.configure("relay", level=settings.log_level)

    async def main(stop: asyncio.Event) -> None:
        await serve_relay(settings, stop)

    run_until_stopped(main)


async def serve_relay(settings: RelaySettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let requests under way end in their time."""
    async with relaying(settings) as port:
        announce(port, settings.ready)
        await stop.wait()


@contextlib.asynccontextmanager
async def relaying(settings: RelaySettings) -> AsyncIterator[int]:
    """A relay that serves within the context; its port.

    Raises:
        UsageError, Unavailable: as `run`.
    """
    relay = Relay(settings)
    try:
        listening = listen_to_everyone(settings.address, settings.port, settings.tls, shared=settings.shared_port)
        shown = relay.shown() if listening.tls is None else [listening.tls.shown, *relay.shown()]
        handshakes = HandshakeLimits(settings.connections, settings.head_seconds, settings.rate_seconds)
        server = await accept(listening.socket, lambda: ClientConnection(relay), listening.tls, handshakes)
        try:
            async with renewing(shown), _administered(relay, settings.admin_port):
                yield port_of(listening.socket)
        finally:
            server.close()
    finally:
        await relay.close(settings.grace_seconds)


@contextlib.asynccontextmanager
async def _administered(relay: Relay, port: int | None) -> AsyncIterator[None]:
    """Tell on `port` how the relay is, where there is one."""
    if port is None:
        yield
        return
    admin = Admin(relay)
    await admin.start(port)
    try:
        yield
    finally:
        await admin.close()
