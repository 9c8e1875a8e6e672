"""Connections from a listening socket to their protocols; over TLS no more handshakes at a time than a cap allows.

A protocol learns of a TLS connection when its handshake is over, so what never ends one is counted and timed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from cloister.hosting.loopback import BACKLOG
from cloister.hosting.tls import TlsServer

PAUSE_SECONDS: Final = 0.1  # after a connection could not be accepted: mostly there is no descriptor left for it


@dataclass(frozen=True, slots=True)
class HandshakeLimits:
    """What connections are held to before and after they are a protocol's."""

    at_a_time: int  # beside the connections whose handshakes are over
    seconds: float  # for one handshake
    shutdown_seconds: float  # for what is unsent when a connection closes, and for the peer's farewell


class Accepting(Protocol):
    """What accepts connections."""

    def close(self) -> None:
        """Accept no more."""


async def accept(
    listener: socket.socket,
    protocol: Callable[[], asyncio.BaseProtocol],
    tls: TlsServer | None,
    limits: HandshakeLimits,
) -> Accepting:
    """Accept connections on `listener`, each for a new `protocol`, until it is closed."""
    if tls is None:
        return await asyncio.get_running_loop().create_server(protocol, sock=listener, backlog=BACKLOG)
    return _TlsAccepting(listener, protocol, tls.shown.context, limits)


class _TlsAccepting:
    """The loop's own server starts as many handshakes as there are callers; this one starts no more than its cap."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext,
        limits: HandshakeLimits,
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._context = context
        self._limits = limits
        self._handshakes: dict[asyncio.Task[None], None] = {}  # the one that takes longest comes first
        listener.setblocking(False)
        self._task = asyncio.create_task(self._accept())
        self._task.add_done_callback(lambda _: listener.close())  # when the loop looks at it no more

    def close(self) -> None:
        """Accept no more; handshakes that are not over end here."""
        self._task.cancel()
        for handshake in list(self._handshakes):
            handshake.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._handshakes) >= self._limits.at_a_time:
                longest = next(iter(self._handshakes))
                del self._handshakes[longest]
                longest.cancel()
            handshake = loop.create_task(self._shake_hands(accepted))
            self._handshakes[handshake] = None
            handshake.add_done_callback(lambda done: self._handshakes.pop(done, None))
            await asyncio.sleep(0)  # it begins, and so owns its socket; and others have their turn

    async def _shake_hands(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the caller's: it left, took too long, or showed no good certificate
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.seconds,
                ssl_shutdown_timeout=self._limits.shutdown_seconds,
            )
