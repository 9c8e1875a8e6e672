"""What all connections of one callback HTTP/1.1 server share: limits, the buffer they read into, who is idle."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol

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


class Sparable(Connection, Protocol):
    """A connection that may have to make room."""

    def unsent(self) -> int:
        """Bytes of answers that the client has yet to take."""


@dataclass(slots=True, eq=False)
class InboundState(ListenerState[Sparable]):
    """Shared by the connections of one server."""

    limits: InboundLimits
    # Those of which nothing is wanted any more, or yet; the one that is idle longest comes first.
    idle: dict[Sparable, None] = field(default_factory=dict)
    # Read into and used up within one call of the loop's, so all connections share it. It holds ciphertext only.
    scratch: memoryview = field(default_factory=lambda: memoryview(bytearray(SCRATCH)))

    def admit(self, connection: Sparable, transport: asyncio.BaseTransport) -> bool:
        """Take a new connection in, in the place of an idle one if need be, unless its certificate may not call."""
        if self.tls is not None and not self.tls.admits(transport):
            return False
        if len(self.connections) >= self.limits.connections:
            self._make_room()
        if self.closing or len(self.connections) >= self.limits.connections:
            return False
        self.connections.add(connection)
        self.idle[connection] = None
        return True

    def _make_room(self) -> None:
        """End the connection that is idle longest and owes its reader nothing."""
        longest = next((one for one in self.idle if not one.unsent()), None)
        if longest is not None:
            longest.abort()  # a close could wait for a reader that never comes, and nobody would count it
            self.leave(longest)

    def leave(self, connection: Sparable) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        self.idle.pop(connection, None)
