"""The times that entries state, held against those that witnesses state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from cloister.contract.audit.findings import Finding
from cloister.contract.audit.taken import Taken
from cloister.formats.custody import Root, Use
from cloister.formats.handover import Handover
from cloister.formats.identity import Authority, Identity
from cloister.formats.refusal import Refusal
from cloister.formats.release import KmsInstance, Release

SLACK: Final = 3_600  # seconds by which honest clocks, and entries that wait for the log, may differ from the witnesses


class StatedTimes:
    """A time may lie neither before what witnesses had said nor after they had seen the entry."""

    def __init__(self) -> None:
        self._unseen: deque[tuple[int, bytes, int]] = deque()  # index, digest, time, until a checkpoint covers it

    def take(self, taken: Taken) -> Iterator[Finding]:
        """Hold an entry's time against what the log before it says."""
        stated = stated_time(taken)
        if stated is None:
            return
        self._unseen.append((taken.index, taken.statement.digest, stated))
        behind = taken.before.time - stated
        if behind > SLACK:
            says = f"states a time {behind} s before what witnesses had said by then: it is backdated, or was held back"
            yield taken.finding("fault", "audit.time", says)

    def seen(self, size: int, until: int) -> Iterator[Finding]:
        """A checkpoint of `size` entries was cosigned at `until` (seconds since 1970) at the latest."""
        while self._unseen and self._unseen[0][0] < size:
            index, digest, stated = self._unseen.popleft()
            ahead = stated - until
            if ahead > SLACK:
                says = f"states a time {ahead} s after witnesses had seen it: its host's clock was ahead"
                yield Finding("warning", index, "audit.time", says, digest)


_STATING = Authority | Handover | Identity | KmsInstance | Refusal | Release | Root | Use


def stated_time(taken: Taken) -> int | None:
    """When a KMS says that it made an entry that has an effect; None where it says nothing of that."""
    return taken.record.at if taken.counts and isinstance(taken.record, _STATING) else None
