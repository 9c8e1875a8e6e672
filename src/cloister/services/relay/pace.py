"""How fast a peer sends or takes bytes, against the slowest that is borne."""

from __future__ import annotations


class Pace:
    """Looks at a count of bytes now and then. A peer may pause, but not crawl."""

    __slots__ = ("_bytes", "_since")

    def __init__(self) -> None:
        self._bytes = 0
        self._since = 0.0

    def begin(self, now: float, moved: int) -> None:
        """From now on the peer is to move."""
        self._since = now
        self._bytes = moved

    def too_slow(self, now: float, moved: int, *, rate: float, seconds: float) -> bool:
        """Whether fewer than `rate` bytes a second have moved in the last `seconds`, looked at once in as long."""
        if now - self._since < seconds:
            return False
        slow = moved - self._bytes < rate * (now - self._since)
        self.begin(now, moved)
        return slow
