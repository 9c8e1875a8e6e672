"""Refusals on their way into the log: each before it is answered, as many as the log takes; of the rest a count.

Whoever reaches the KMS can be refused as often as it likes; the log is everyone's. So what is refused has a bucket, for
each contract line and what was wanted of it. While that holds something, a refusal is an entry before anybody is told
of it: who ends the KMS between takes no trace away. What is over is counted, and nobody is told why, but for a node
that the log says the same of already: one that goes on asking goes on hearing what is wrong. The newest of it is
logged, with the count, as soon as the bucket holds something again, whether anybody asks or not.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from msgspec.structs import replace

from cloister.errors import Refused
from cloister.examination import Examination, Outcome
from cloister.formats import canonical
from cloister.formats.custody import Recovery
from cloister.formats.evidence import Evidence
from cloister.formats.refusal import MAXIMUM_FAILED, FailedCheck, Refusal, Wanted, told_shortfall
from cloister.hosting.allowance import Allowance, TooMuch

PER_SECOND = 1 / 60  # entries of one bucket, once it is empty
BURST = 8
WAITING = 32  # entries that the ledger did not take; while it is down they must not fill the memory
KNOWN = 64  # nodes of one bucket whose last entry is kept in mind
FIRST = 1  # a number until the entry gets its own

Failed = tuple[FailedCheck, ...]


class _Bucket:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.allowance = Allowance(per_second=PER_SECOND, brim=BURST, clock=clock)
        self.newest: Refusal | None = None  # of those in no entry
        self.counted = 0  # all of them
        self.logged: OrderedDict[bytes, Failed] = OrderedDict()  # what the log said last of a node, by its thumbprint


class Refusals:
    """What is to be logged by one KMS instance."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._buckets: dict[tuple[bytes, Wanted], _Bucket] = {}
        self._number = 0
        self._waiting: deque[Refusal] = deque()

    def note(self, refusal: Refusal) -> None:
        """Have it logged, with a number and a count of its own: it waits, behind others, until it was.

        Its subject is a line that is served, or the genesis, so that there are few.

        Raises:
            TooMuch: more come than the log takes; it is counted, and not to be told, since no entry says it.
        """
        bucket = self._buckets.setdefault((refusal.subject, refusal.wanted), _Bucket(self._clock))
        try:
            self._take(bucket)
        except TooMuch as error:
            bucket.newest, bucket.counted = refusal, bucket.counted + 1
            if bucket.logged.get(refusal.node) == refusal.failed:
                return
            says = "this is refused, and more is than the log takes at once, so that it does not say why"
            raise TooMuch(says, error.retry_seconds) from error
        self._enter(refusal, bucket, omitted=bucket.counted)

    def settle(self) -> None:
        """Have what was counted logged where there is room for an entry again."""
        for bucket in self._buckets.values():
            if bucket.newest is not None:
                with contextlib.suppress(TooMuch):
                    self._take(bucket)
                    self._enter(bucket.newest, bucket, omitted=bucket.counted - 1)

    def first(self) -> Refusal | None:
        """The oldest that waits; it goes on waiting, as it is, until it was `logged`."""
        return self._waiting[0] if self._waiting else None

    def logged(self) -> None:
        """The oldest is in the log now."""
        refusal = self._waiting.popleft()
        logged = self._buckets[refusal.subject, refusal.wanted].logged
        logged[refusal.node] = refusal.failed
        logged.move_to_end(refusal.node)
        if len(logged) > KNOWN:
            logged.popitem(last=False)

    def _take(self, bucket: _Bucket) -> None:
        if len(self._waiting) >= WAITING:
            raise TooMuch("refusals wait for the ledger", 1)
        bucket.allowance.take(1, what="refusals")

    def _enter(self, refusal: Refusal, bucket: _Bucket, *, omitted: int) -> None:
        self._number += 1
        self._waiting.append(replace(refusal, number=self._number, omitted=omitted))
        bucket.newest, bucket.counted = None, 0


def refused_evidence(subject: bytes, evidence: Evidence, wanted: Wanted, failed: Failed, *, at: int) -> Refusal:
    """Of who showed `evidence`, as it was judged; `at` is in seconds since 1970."""
    return Refusal(
        subject=subject,
        number=FIRST,
        role=evidence.binding.role,
        wanted=wanted,
        failed=failed,
        evidence=hashlib.sha256(canonical.encode(evidence)).digest(),
        node=evidence.keys.thumbprint(),
        at=at,
        omitted=0,
    )


def refused_share(given: Recovery, failed: Failed, *, at: int) -> Refusal:
    """Of a custodian that gave what is not its share; `at` is in seconds since 1970."""
    return Refusal(
        subject=given.contract,
        number=FIRST,
        role="custodian",
        wanted="recovery",
        failed=failed,
        evidence=hashlib.sha256(canonical.encode(given)).digest(),
        node=given.instance,
        at=at,
        omitted=0,
    )


def failed_of(found: Examination[Any] | Refused) -> Failed:
    """The checks that failed, the first of them, as an entry has them."""
    if isinstance(found, Refused):
        return (FailedCheck(check=found.check, shortfall=told_shortfall(found.shortfall)),)
    failed = [step for step in found.steps if step.outcome is Outcome.FAILED][:MAXIMUM_FAILED]
    return tuple(FailedCheck(check=step.id, shortfall=told_shortfall(step.detail)) for step in failed)
