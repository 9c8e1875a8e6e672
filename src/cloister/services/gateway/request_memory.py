"""The memory that requests may hold together, and who gives way where it is short.

A request lies here until it is whole, so that no engine waits for a client. What has arrived counts, not what was
announced. Where there is no room for more, the request that arrives most slowly is given up, if it is large and has
had its time: whoever parks half-sent uploads keeps nobody out.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from cloister.errors import Unavailable

LARGE: Final = 1024 * 1024  # bytes; to give up a smaller one would make little room


class Busy(Unavailable):
    """The gateway holds as many requests as it may."""


class Arriving(Protocol):
    """A request that is not whole yet."""

    @property
    def held(self) -> int:
        """Bytes that it holds."""

    def give_way(self, error: Busy) -> None:
        """Be refused, and let go of all that is held."""


class RequestMemory:
    """Counts what is held against a cap."""

    def __init__(self, cap: int, *, patience_seconds: float) -> None:
        """At most `cap` bytes together; a request may take `patience_seconds` before it has to give way."""
        self.held = 0
        self._cap = cap
        self._patience = patience_seconds
        self._arriving: dict[Arriving, float] = {}  # since when

    def hold(self, request: Arriving, size: int) -> None:
        """Count what has arrived of `request`.

        Raises:
            Busy: there is no room for it.
        """
        if self.held + size > self._cap:
            self._make_room(request, size)
        self.held += size

    def release(self, size: int) -> None:
        """So much is held no more."""
        self.held -= size

    def arrives(self, request: Arriving) -> None:
        """More of it is to come."""
        self._arriving.setdefault(request, asyncio.get_running_loop().time())

    def arrived(self, request: Arriving) -> None:
        """It is whole, or has ended."""
        self._arriving.pop(request, None)

    def _make_room(self, wanting: Arriving, size: int) -> None:
        now = asyncio.get_running_loop().time()
        while self.held + size > self._cap:
            late = [
                (request.held / (now - since), request)
                for request, since in self._arriving.items()
                if now - since > self._patience and request.held >= LARGE
            ]
            slowest = min(late, key=lambda one: one[0])[1] if late else wanting
            if slowest is wanting:
                raise Busy("the gateway holds as many requests as it may")
            self.arrived(slowest)
            slowest.give_way(Busy("the gateway holds as many requests as it may, and this one arrives most slowly"))
