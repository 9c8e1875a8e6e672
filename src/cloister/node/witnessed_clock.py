"""The time, where the host's clock is only the host's word: the witnesses' time is a floor under it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class WitnessedClock:
    """Seconds since 1970: the host's clock, but never before the last time witnessed and what has passed since here.

    A host can stop its clock or set it back to keep old keys in life or have requests answered again: this goes on.
    """

    def __init__(self, host: Callable[[], float]) -> None:
        """`host` is the host's word, in seconds since 1970."""
        self._host = host
        self._witnessed = 0.0
        self._heard_at = monotonic()

    def __call__(self) -> float:
        """The time now."""
        return max(self._host(), self.floor())

    def hear(self, cosigned_at: int) -> None:
        """Take in when a quorum cosigned a verified checkpoint; an older time than is known changes nothing."""
        if cosigned_at > self.floor():
            self._witnessed, self._heard_at = float(cosigned_at), monotonic()

    def floor(self) -> float:
        """The time that it is at least, whatever the host says."""
        return self._witnessed + (monotonic() - self._heard_at)
