"""A breaker: who failed a few times in a row is left alone for a moment, and then one request tries for all."""

from __future__ import annotations

from typing import Final

FIRST_BREAK_SECONDS: Final = 0.5  # doubled by each failure in a row
LONGEST_BREAK_SECONDS: Final = 4.0
_ENOUGH: Final = 8  # doublings


class Breaker:
    """Closed until `patience` failures in a row. Times are the loop's, in seconds."""

    __slots__ = ("_failures", "_patience", "_trying", "_until")

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._failures = 0
        self._until = 0.0
        self._trying = False  # since the last break

    def is_open(self, now: float) -> bool:
        """Whether it is not to be asked yet."""
        return now < self._until

    def trying(self, now: float, seconds: float) -> None:
        """A request goes to it; after a break it is the only one, until it ends or for so many `seconds`."""
        if self._failures >= self._patience:
            self._until, self._trying = now + seconds, True

    def let_through(self, now: float) -> None:
        """No break now, but at the next failure: what tried went away before it knew, or was no request like others."""
        self._until, self._trying = min(self._until, now), False

    def failed(self, now: float) -> None:
        """It failed once more. What fails during a break began before it, and says nothing new."""
        if self.is_open(now) and not self._trying:
            return
        self._trying = False
        self._failures = min(self._failures + 1, self._patience + _ENOUGH)
        if self._failures >= self._patience:
            pause = FIRST_BREAK_SECONDS * 2 ** (self._failures - self._patience)
            self._until = now + min(pause, LONGEST_BREAK_SECONDS)

    def passed(self) -> None:
        """It serves."""
        self._failures, self._until, self._trying = 0, 0.0, False
