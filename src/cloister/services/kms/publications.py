"""What one KMS instance serves of the log: bundles and intake keys, each the same bytes for all who ask.

What is to be shown is noted where the log has changed, and made when somebody asks for it: a release does not wait for
a bundle that names a thousand releases before it. A long one is made again after a while only, so that releases and
requests for bundles together cannot keep the instance busy with nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from time import monotonic

from cloister.contract.replay import ReplayedLog
from cloister.contract.state import ContractLine, EpochRecord
from cloister.errors import Unavailable
from cloister.services.kms.bundle import Moment, ServedBundle, make_bundle
from cloister.services.kms.custody import Custody
from cloister.services.kms.standing import Standing

LONG = 128 * 1024  # bytes of bundles; shorter ones are made as often as they are asked for
RESTS = 4  # times as long as the making took


@dataclass(frozen=True, slots=True)
class _Noted:
    """What is to be shown: the log, and of each line the epoch in use, if its key was here then."""

    log: ReplayedLog
    active: Mapping[bytes, tuple[ContractLine, EpochRecord]]


class Publications:
    """The bundles by contract line. Nothing is awaited here: none is seen half made."""

    def __init__(self, standing: Standing, custody: Custody, *, clock: Callable[[], float] = monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._standing = standing
        self._custody = custody
        self._clock = clock
        self._bundles: Mapping[bytes, ServedBundle] = {}
        self._intakes: Mapping[bytes, bytes] = {}
        self._noted: _Noted | None = None  # what is not made yet
        self._rested_at = 0.0
        self._active: Mapping[bytes, EpochRecord] = {}
        self._size = 0
        self.renewed_at = 0  # when the checkpoint that is shown was cosigned; seconds since 1970

    def note(self) -> None:
        """Have the log be shown as it is now, to the next who asks."""
        standing, log = self._standing, self._standing.history.log
        found = {name: (line, standing.active(line)) for name, line in standing.lines().items()}
        active = {name: (line, record) for name, (line, record) in found.items() if record is not None}
        self._noted = _Noted(log, active)
        self._active = {name: record for name, (_, record) in active.items()}
        self._size, self.renewed_at = log.checkpoint.size, log.checkpoint.cosigned_at

    def publish(self) -> None:
        """Show the log as it is now.

        Raises:
            Unavailable: the TEE does not answer; what was shown before stays.
        """
        self.note()
        self._make()

    def are_of(self, size: int) -> bool:
        """Whether a log of `size` entries is shown, with the epochs that are in use now."""
        standing = self._standing
        active = {name: record for name, line in standing.lines().items() if (record := standing.active(line))}
        return (self._size, self._active) == (size, active)

    def withdraw(self) -> None:
        """Show nothing any more."""
        self._bundles, self._intakes, self._active, self._noted = {}, {}, {}, None

    @property
    def lines(self) -> Collection[bytes]:
        """The lines that have a bundle."""
        return self._active.keys()

    def bundle(self, line: bytes) -> ServedBundle | None:
        """The bundle of the contract line with this digest; None where there is none."""
        self._make_noted()
        return self._bundles.get(line)

    def intake(self, line: bytes) -> bytes | None:
        """The intake key of the line with this digest; None where it has no root."""
        self._make_noted()
        return self._intakes.get(line)

    def _make_noted(self) -> None:
        if self._noted is not None and self._clock() >= self._rested_at:
            with contextlib.suppress(Unavailable):  # what was shown before stays
                self._make()

    def _make(self) -> None:
        if (noted := self._noted) is None:
            return
        began, standing, log = self._clock(), self._standing, noted.log
        shown = standing.instance.evidence(log.checkpoint, log.state.constitution)
        moment = Moment(log, standing.instance, shown, standing.now())
        active = noted.active.items()
        bundles = {name: ServedBundle.of(make_bundle(moment, line, epoch)) for name, (line, epoch) in active}
        self._bundles, self._intakes, self._noted = bundles, self._custody.intakes(), None
        now = self._clock()
        self._rested_at = now + RESTS * (now - began) if sum(len(one.data) for one in bundles.values()) > LONG else now
