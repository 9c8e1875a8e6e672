"""How often vendors are asked on behalf of evidence that nothing has proven yet: by each asker, and by all together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cloister.endorsements.vendor_site import VendorUnavailable

_MOST_ASKERS: Final = 4096


@dataclass(frozen=True, slots=True)
class AskerLimits:
    """How often one asker, and all together, may have a vendor asked for what nothing has proven yet."""

    seconds: float = 3600.0
    each: int = 8
    all: int = 256


class AskerCounts:
    """Counts within the last so many seconds; who has not asked for long is forgotten first."""

    def __init__(self, limits: AskerLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._each: OrderedDict[str, list[float]] = OrderedDict()  # when, by asker
        self._all: list[float] = []

    def count(self, asker: str) -> None:
        """Count one question.

        Raises:
            VendorUnavailable: there were too many of late, of this asker or of all; it was not counted.
        """
        now = self._clock()
        since = now - self._limits.seconds
        own = [at for at in self._each.get(asker, []) if at > since]
        self._all = [at for at in self._all if at > since]
        for counted, most in ((own, self._limits.each), (self._all, self._limits.all)):
            if len(counted) >= most:
                later = counted[0] - since if counted else self._limits.seconds
                raise VendorUnavailable(
                    f"unproven reports asked for {most} certificates within {self._limits.seconds:g} s: come back in"
                    f" {later:.0f} s, or import what is missing"
                )
        self._all.append(now)
        self._each[asker] = [*own, now]
        self._each.move_to_end(asker)
        while len(self._each) > _MOST_ASKERS:
            self._each.popitem(last=False)
