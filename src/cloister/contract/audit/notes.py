"""Checkpoints beside the entries: those that an auditor was shown, or saw before, and those that the log itself holds.

Each has to be of this log, signed by it and cosigned by the quorum of the constitution in force at its size; and the
entries have to add up to its root. One that is signed, and to which they do not, is proof of another history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloister.contract.audit.findings import Finding
from cloister.contract.audit.taken import Taken
from cloister.contract.state import State
from cloister.crypto.merkle import GrowingTree
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination, Outcome
from cloister.formats.checkpoint import Checkpoint, parse_checkpoint, parse_note
from cloister.formats.governance import WitnessedTime
from cloister.ledger.checkpoints import VerifiedCheckpoint, examine_checkpoint


@dataclass(frozen=True, slots=True)
class ShownNote:
    """A cosigned note that the auditor has, and where from."""

    note: bytes
    words: str = "the log's checkpoint"
    before: bool = False  # seen at an earlier time


class Notes:
    """The notes to hold a log against, smallest first; entries are added up to each in turn."""

    def __init__(self, shown: Sequence[ShownNote]) -> None:
        """Raises MalformedInput or TooLarge where one is no note."""
        self._waiting = sorted(((_read(one), one) for one in shown), key=lambda pair: pair[0].size)
        self._roots: dict[int, tuple[bytes, str]] = {}
        self.verified: VerifiedCheckpoint | None = None  # the largest that held

    def reached(self, state: State, tree: GrowingTree) -> Iterator[Finding]:
        """Hold the notes of this size against the entries."""
        while self._waiting and self._waiting[0][0].size <= tree.size:
            checkpoint, shown = self._waiting.pop(0)
            yield from self._hold(checkpoint, shown, state, tree)

    def ended(self, state: State, tree: GrowingTree) -> Iterator[Finding]:
        """The log has no more entries: nothing may be left that covers more."""
        for checkpoint, shown in self._waiting:
            yield from self._authentic(shown, state)
            says = f"the log has {tree.size} entries, {shown.words} covers {checkpoint.size}: it is cut off"
            yield Finding("fault", tree.size, "audit.size", says)
        if self.verified is not None and self.verified.size < tree.size:
            says = f"no checkpoint that holds covers the entries from {self.verified.size} on"
            yield Finding("fault", self.verified.size, "audit.size", says)
        self._waiting = []

    def _hold(self, checkpoint: Checkpoint, shown: ShownNote, state: State, tree: GrowingTree) -> Iterator[Finding]:
        faults = list(self._authentic(shown, state))
        yield from faults
        known = self._roots.setdefault(checkpoint.size, (checkpoint.root, shown.words))
        if known[0] != checkpoint.root:
            says = f"{known[1]} and {shown.words} have two roots at one size, {checkpoint.size}: the log is forked"
            yield Finding("fault", None, "audit.fork", says)
        elif tree.root(checkpoint.size) == checkpoint.root:
            if not faults:
                self.verified = self._examined(shown, state).require()
        elif shown.before:
            says = f"the first {checkpoint.size} entries are not those of {shown.words}: the log was forked since"
            yield Finding("fault", None, "audit.fork", says)
        else:
            says = f"{checkpoint.size} entries do not add up to the root of {shown.words}: one was changed or moved"
            yield Finding("fault", None, "audit.root", says)

    def _authentic(self, shown: ShownNote, state: State) -> Iterator[Finding]:
        for step in self._examined(shown, state).steps:
            if step.outcome is Outcome.FAILED:
                yield Finding("fault", None, step.id, f"{shown.words} {step.detail}")

    def _examined(self, shown: ShownNote, state: State) -> Examination[VerifiedCheckpoint]:
        rules = state.constitution
        return examine_checkpoint(shown.note, log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum)


def check_time(taken: Taken, tree: GrowingTree) -> Iterator[Finding]:
    """The checkpoint in a `time` entry that counts is of this history."""
    if taken.counts and isinstance(taken.record, WitnessedTime):
        checkpoint = parse_checkpoint(parse_note(taken.record.note).text)
        if tree.root(checkpoint.size) != checkpoint.root:
            says = f"holds a cosigned checkpoint of {checkpoint.size} entries that are not these: the log was forked"
            yield taken.finding("fault", "audit.fork", says)


def _read(shown: ShownNote) -> Checkpoint:
    try:
        return parse_checkpoint(parse_note(shown.note).text)
    except (MalformedInput, TooLarge) as error:
        raise type(error)(f"{shown.words} is no checkpoint: {error}") from error
