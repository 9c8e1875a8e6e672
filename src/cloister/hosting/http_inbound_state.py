"""What all connections of one callback HTTP/1.1 server share: limits, the buffer they read into, who is idle."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from cloister.hosting.http_listener import Connection, ListenerState

SCRATCH: Final = 256 * 1024  # bytes read at a time


@dataclass(frozen=True, slots=True)
class InboundLimits:
    """Caps and times of one server."""

    body_bytes: int = 32 * 1024 * 1024  # of a request
    connections: int = 1024
    idle_seconds: float = 75  # between requests
    head_seconds: float = 10  # from a head's first byte to its last
    body_seconds: float = 600  # for a whole body
    stall_seconds: float = 20  # by which a body may be behind the minimum rate; haste before earns no more
    write_seconds: float = 20  # by which the reader of an answer may be behind it, likewise
    minimum_rate: float = 4096  # bytes a second


@dataclass(slots=True, eq=False)
class InboundState(ListenerState[Connection]):
    """Shared by the connections of one server."""

    limits: InboundLimits
    idle: dict[Connection, None] = field(default_factory=dict)  # the one that is idle longest comes first
    # Read into and used up within one call of the loop's, so all connections share it. It holds ciphertext only.
    scratch: memoryview = field(default_factory=lambda: memoryview(bytearray(SCRATCH)))

    def admit(self, connection: Connection, transport: asyncio.BaseTransport) -> bool:
        """Take a new connection in, in the place of an idle one if need be, unless its certificate may not call."""
        if self.tls is not None and not self.tls.admits(transport):
            return False
        if len(self.connections) >= self.limits.connections and self.idle:
            longest = next(iter(self.idle))
            del self.idle[longest]
            longest.close_when_idle()
            self.connections.discard(longest)
        if self.closing or len(self.connections) >= self.limits.connections:
            return False
        self.connections.add(connection)
        self.idle[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self.idle.pop(connection, None)
