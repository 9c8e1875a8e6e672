"""Refusals on their way into the log: some of each contract line, and how many more there were.

Whoever reaches the KMS can be refused as often as it likes; the log is everyone's. So a line has a bucket: what is over
is counted, and the count stands in the next entry. No node waits for this: entries go out when the log is looked at.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from cloister.examination import Examination, Outcome
from cloister.formats import canonical
from cloister.formats.evidence import Evidence
from cloister.formats.refusal import MAXIMUM_FAILED, FailedCheck, Refusal, Wanted, told_shortfall
from cloister.hosting.allowance import Allowance, TooMuch

PER_SECOND = 1 / 60  # entries of one contract line, once its bucket is empty
BURST = 8
WAITING = 32  # entries of all lines; a ledger that is down must not fill the memory
A_LOOK = 4  # entries at one look at the log: releases wait behind them


class Refusals:
    """What is to be logged by one KMS instance."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._allowances: dict[bytes, Allowance] = {}  # by contract line
        self._omitted: Counter[bytes] = Counter()
        self._waiting: deque[Refusal] = deque()

    def note(self, line: bytes, evidence: Evidence, found: Examination[Any], wanted: Wanted, *, at: int) -> None:
        """Have a refusal logged, or counted; `line` is one that is served, so that there are few.

        Args:
            line: the digest of the first contract of the line.
            evidence: as it was judged.
            found: an examination with a step that failed.
            wanted: what the node asked for.
            at: seconds since 1970.
        """
        allowance = self._allowances.setdefault(line, Allowance(per_second=PER_SECOND, brim=BURST, clock=self._clock))
        try:
            allowance.take(1, what="refusals")
        except TooMuch:
            self._omitted[line] += 1
            return
        if len(self._waiting) >= WAITING:
            self._omitted[line] += 1
            return
        omitted = self._omitted.pop(line, 0)
        self._waiting.append(
            Refusal(
                contract=line,
                role=evidence.binding.role,
                wanted=wanted,
                failed=_failed(found),
                evidence=hashlib.sha256(canonical.encode(evidence)).digest(),
                node=evidence.keys.thumbprint(),
                at=at,
                omitted=omitted,
            )
        )

    def first(self) -> Refusal | None:
        """The oldest that waits; it goes on waiting until it was `logged`."""
        return self._waiting[0] if self._waiting else None

    def logged(self) -> None:
        """The oldest is in the log now."""
        self._waiting.popleft()


def _failed(found: Examination[Any]) -> tuple[FailedCheck, ...]:
    failed = [step for step in found.steps if step.outcome is Outcome.FAILED][:MAXIMUM_FAILED]
    return tuple(FailedCheck(check=step.id, shortfall=told_shortfall(step.detail)) for step in failed)
