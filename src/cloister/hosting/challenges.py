"""Challenges that this instance issued: random, each used once, for a short while, a bounded number of them.

They live in memory: evidence that answered another instance, or this one before it restarted, answers nothing here.
"""

from __future__ import annotations

import threading

CHALLENGE_SIZE = 32  # bytes


class Challenges:
    """The open challenges, oldest first, for all threads of a process. Times are seconds of a monotonic clock."""

    def __init__(self, *, seconds: int, capacity: int) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._expires: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._expires)

    def issue(self, challenge: bytes, *, at: float) -> None:
        """Open `challenge`, 32 fresh random bytes.

        When the table is full the oldest goes: an honest node answers in milliseconds, so it takes a flood of the
        whole table in that time to unseat it, and a full table that refused would be the cheaper attack.
        """
        with self._lock:
            self._forget_expired(at)
            if len(self._expires) >= self._capacity:
                del self._expires[next(iter(self._expires))]
            self._expires[challenge] = at + self._seconds

    def use(self, challenge: bytes, *, at: float) -> bool:
        """Whether `challenge` was open; it no longer is, whatever becomes of the request that answers it."""
        with self._lock:
            expires = self._expires.pop(challenge, None)
        return expires is not None and at < expires

    def _forget_expired(self, at: float) -> None:
        """All live equally long, so the expired ones stand first."""
        while self._expires:
            oldest = next(iter(self._expires))
            if self._expires[oldest] > at:
                return
            del self._expires[oldest]
