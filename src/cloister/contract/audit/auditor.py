"""The audit itself: entry by entry through the fold that KMS instances use, and past what a fold can say.

The rules of what counts are nowhere but in `contract.fold`. What is added is held against the whole history: the order,
the times, the evidence behind releases, the checkpoints. Nothing is fetched and no clock is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cloister.contract.audit.examined_again import ExaminedAgain
from cloister.contract.audit.findings import AuditedEntry, Finding
from cloister.contract.audit.notes import Notes, ShownNote, check_time
from cloister.contract.audit.order import Order
from cloister.contract.audit.payloads import evidence_named, read_payload
from cloister.contract.audit.signers import Signers
from cloister.contract.audit.taken import Taken
from cloister.contract.audit.times import StatedTimes
from cloister.contract.audit.void import Earlier, check_void
from cloister.contract.audit.windows import Windows
from cloister.contract.audit.words import words
from cloister.contract.fold import begin, void, weigh
from cloister.contract.governance import witnessed_time
from cloister.contract.placed import Placed
from cloister.contract.state import State
from cloister.crypto.merkle import GrowingTree, leaf_hash
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.ledger.statements import entry_digest, open_statement


@dataclass(frozen=True, slots=True)
class Audit:
    """What came of auditing a log whole."""

    entries: tuple[AuditedEntry, ...]
    findings: tuple[Finding, ...]
    checkpoint: VerifiedCheckpoint | None  # the largest that the entries add up to
    state: State | None  # None where the log does not begin as it should


class Auditor:
    """Takes a log's entries in their order; each call says what there is to say of them."""

    def __init__(
        self, *, genesis: bytes, notes: Sequence[ShownNote], since: int = 0, without_evidence: bool = False
    ) -> None:
        """`genesis` is the digest of the constitution that the log has to begin with.

        Evidence of entries before `since` is not examined again; `without_evidence`, none is, and that is a finding.

        Raises:
            MalformedInput, TooLarge: one of `notes` is no checkpoint.
        """
        self._genesis = genesis
        self._since = since
        self._without = without_evidence
        self._unexamined = 0
        self._notes = Notes(notes)
        self._tree = GrowingTree()
        self._signers, self._order, self._times = Signers(), Order(), StatedTimes()
        self._windows, self._earlier, self._gates = Windows(), Earlier(), ExaminedAgain()
        self._told: list[Finding] = []
        self.state: State | None = None
        self.counts: Counter[str] = Counter()  # entries that count, by kind

    @property
    def size(self) -> int:
        """How many entries were taken."""
        return self._tree.size

    @property
    def checkpoint(self) -> VerifiedCheckpoint | None:
        """The largest checkpoint that held so far."""
        return self._notes.verified

    def take(self, entry: bytes, evidence: Mapping[bytes, bytes]) -> AuditedEntry:
        """The next entry; `evidence` is what the ledger keeps, by the digest that an entry names."""
        index = self._tree.size
        self._tree.append(leaf_hash(entry))
        if index == 0:
            audited = self._begun(entry)
        elif self.state is None:
            audited = _unread(index, entry, "the log does not begin as it should")
        else:
            audited = self._continued(self.state, index, entry, evidence)
        if self.state is not None:
            self.counts[audited.kind] += audited.counts
            self._told += self._notes.reached(self.state, self._tree)
        return audited

    def findings(self) -> tuple[Finding, ...]:
        """What was found since this was asked last."""
        told, self._told = tuple(self._told), []
        return told

    def close(self) -> None:
        """The log has no more entries."""
        if self.state is None:
            if not self._tree.size:
                self._told.append(Finding("fault", 0, "constitution.genesis", "the log is empty"))
            return
        self._told += self._notes.ended(self.state, self._tree)
        if self._unexamined:
            says = f"{self._unexamined} releases were not examined again: there was no evidence to do so"
            self._told.append(Finding("warning", None, "audit.kept", says))
        if self.checkpoint is not None:
            self._told += self._times.seen(self.checkpoint.size, self.checkpoint.seen_by)

    def _begun(self, entry: bytes) -> AuditedEntry:
        try:
            self.state = begin(entry, genesis=self._genesis)
        except Refused as error:
            digest = entry_digest(entry)
            self._told.append(Finding("fault", 0, "constitution.genesis", str(error), digest))
            return _unread(0, entry, str(error))
        statement = open_statement(entry)
        self._signers.learn(self.state)
        signers = self._signers.named(statement.signers)
        taken = Taken(0, entry, statement, read_payload(statement), signers, self.state, self.state)
        self._told += self._order.take(taken)
        self._earlier.remember(self.state)
        return AuditedEntry(0, statement.kind, statement.digest, signers, True, words(taken, self._order), "", "")

    def _continued(self, before: State, index: int, entry: bytes, evidence: Mapping[bytes, bytes]) -> AuditedEntry:
        try:
            statement = open_statement(entry)
        except (MalformedInput, TooLarge, BadSignature) as error:
            self.state = void(before, error)
            says = f"is nothing that a ledger takes: {error}"
            self._told.append(Finding("fault", index, "audit.entry", says, entry_digest(entry)))
            return _unread(index, entry, str(error))
        after = self.state = weigh(before, statement, entry)
        if not after.reason:
            self._signers.learn(after)
            self._earlier.remember(after)
        record, signers = read_payload(statement), self._signers.named(statement.signers)
        taken = Taken(index, entry, statement, record, signers, before, after)
        self._told += self._order.take(taken)
        if self._order.place(statement.digest) == index:  # what stands there again is no second word of its signers
            self._told += self._judged(taken, evidence)
        kind, digest, says = statement.kind, statement.digest, words(taken, self._order)
        return AuditedEntry(index, kind, digest, signers, taken.counts, says, after.broken, after.reason)

    def _judged(self, taken: Taken, evidence: Mapping[bytes, bytes]) -> Iterator[Finding]:
        yield from check_void(taken, self._earlier)
        yield from self._windows.take(taken)
        yield from self._times.take(taken)
        if taken.counts and taken.statement.kind == "time":
            yield from check_time(taken, self._tree)
            placed = Placed(taken.index, taken.entry, taken.statement.digest)
            witnessed = witnessed_time(taken.statement.payload, taken.before.constitution, placed)
            self._earlier.seen(witnessed.size, witnessed.until)
            yield from self._times.seen(witnessed.size, witnessed.until)
        self._gates.take(taken)
        named = evidence_named(taken.record)
        if named is None or not taken.counts or taken.index < self._since:
            return
        if self._without:
            self._unexamined += 1
        else:
            yield from self._gates.examine(taken, evidence.get(named), self._earlier)


def audit(
    entries: Iterable[bytes],
    evidence: Mapping[bytes, bytes],
    notes: Sequence[ShownNote],
    *,
    genesis: bytes,
    since: int = 0,
) -> Audit:
    """Audit a whole log that is at hand."""
    auditor = Auditor(genesis=genesis, notes=notes, since=since)
    audited = tuple(auditor.take(entry, evidence) for entry in entries)
    auditor.close()
    return Audit(audited, auditor.findings(), auditor.checkpoint, auditor.state)


def _unread(index: int, entry: bytes, lacks: str) -> AuditedEntry:
    return AuditedEntry(index, "", entry_digest(entry), (), False, "no statement", "", lacks)
