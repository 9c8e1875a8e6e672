"""How long a service that ended waits before it is started again: longer each time it ends soon."""

from __future__ import annotations

from typing import Final

BACKOFF_SECONDS: Final = (0.2, 0.5, 1, 2, 5, 10, 30)
STEADY_SECONDS: Final = 60.0  # who lived so long is started again at once


def failures_after(failures: int, *, lived_seconds: float) -> int:
    """Ends in a row that came soon, this one counted, after so many before it."""
    return 0 if lived_seconds > STEADY_SECONDS else failures + 1


def backoff_seconds(failures: int) -> float:
    """How long to wait after so many."""
    return BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
