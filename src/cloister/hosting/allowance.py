"""How much may be taken in a time: a bucket that fills at a steady rate, up to its brim."""

from __future__ import annotations

import math
from collections.abc import Callable

from cloister.errors import Unavailable


class TooMuch(Unavailable):
    """More than the allowance leaves; `retry_seconds` says when there is enough again."""

    status = 429

    def __init__(self, sentence: str, retry_seconds: int) -> None:
        super().__init__(f"{sentence}; come back in {retry_seconds} s")
        self.retry_seconds = retry_seconds


class Allowance:
    """So many units a second, and `brim` of them at once after a while of rest."""

    def __init__(self, *, per_second: float, brim: float, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds. What costs more than the brim can never be had: make it large enough."""
        self._per_second = per_second
        self._brim = self._left = brim
        self._clock = clock
        self._at = clock()

    def take(self, units: float, *, what: str) -> None:
        """Take `units`, or nothing.

        Raises:
            TooMuch: there are fewer.
        """
        now = self._clock()
        self._left = min(self._brim, self._left + (now - self._at) * self._per_second)
        self._at = now
        if units > self._left:
            seconds = math.ceil((units - self._left) / self._per_second)
            raise TooMuch(f"{what} come faster than {self._per_second:g} a second", max(1, seconds))
        self._left -= units
