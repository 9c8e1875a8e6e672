"""Entries without effect: whose they are, and whether genuine code can have made them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from cloister.contract.audit.findings import Finding
from cloister.contract.audit.taken import Taken
from cloister.contract.audit.times import SLACK
from cloister.contract.fold import weigh
from cloister.contract.state import State
from cloister.formats.constitution import Constitution
from cloister.formats.release import Epoch, KmsInstance, Release

REMEMBERED: Final = 64  # states before, each after an entry that had an effect
_OF_INSTANCES: Final = frozenset(
    {"kms", "epoch", "release", "root", "use", "handover", "refusal", "authority", "identity"}
)  # nobody else logs these


class Earlier:
    """The states of before, for what was decided on one of them and came into the log after others."""

    def __init__(self) -> None:
        self._states: deque[State] = deque(maxlen=REMEMBERED)
        self._seen: list[tuple[int, int]] = []  # sizes of checkpoints in the log, and when they were cosigned at latest

    def seen(self, size: int, until: int) -> None:
        """Witnesses had seen so many entries by then."""
        self._seen.append((size, until))

    def public(self, size: int) -> int | None:
        """By when the log had more entries than `size`, as far as the log says; seconds since 1970."""
        return min((until for seen, until in self._seen if seen > size), default=None)

    def remember(self, state: State) -> None:
        """A state that an entry had an effect on."""
        self._states.append(state)

    def latest(self, taken: Taken) -> State | None:
        """The latest state in which the entry would have counted."""
        states = self._distinct(lambda state: state.rules.digest) if taken.statement.kind == "kms" else self._back()
        return next((state for state in states if not weigh(state, taken.statement, taken.entry).reason), None)

    def of_rules(self) -> Iterator[State]:
        """One state for each set of instances, the latest first."""
        return self._distinct(lambda state: (state.rules.digest, state.instances))

    def of_line(self, contract: bytes) -> Iterator[State]:
        """The states in which this contract is in force, one for each of what decides a release, the latest first."""

        def parts(state: State) -> object:
            found = state.lines.in_force(contract)
            if found is None:
                return None
            _, line = found
            return id(line.epochs), id(line.custody), id(line.identities), line.revoked, line.revoked_nodes

        return (state for state in self._distinct(parts) if parts(state) is not None)

    def _back(self) -> Iterator[State]:
        return reversed(self._states)

    def _distinct(self, part: Callable[[State], object]) -> Iterator[State]:
        """One for each value of what matters of a state: evidence is dear to examine."""
        met = set()
        for state in self._back():
            if (known := part(state)) not in met:
                met.add(known)
                yield state


def check_void(taken: Taken, earlier: Earlier) -> Iterator[Finding]:
    """What an entry without effect means."""
    if taken.counts:
        return
    check, lacks = taken.after.broken or f"{taken.statement.kind}.form", taken.after.reason
    who = ", ".join(signer.name for signer in taken.signers)
    if _second_genesis(taken):
        grave = taken.signed_by("amender", "party")
        says = f"is a second genesis, by {who}: {lacks}"
        yield taken.finding("fault" if grave else "note", "audit.genesis", says)
    elif taken.signed_by("instance") or taken.statement.kind == "kms":
        yield _of_instance(taken, earlier, check, lacks, who)
    elif taken.signed_by("amender", "party"):
        yield taken.finding("warning", check, f"{who} said what the rules do not allow: {lacks}")
    elif taken.statement.kind in _OF_INSTANCES:
        yield taken.finding("warning", check, f"claims to be a KMS's, by {who}: {lacks}")
    else:
        yield taken.finding("note", check, f"is noise, by {who}: {lacks}")


def _of_instance(taken: Taken, earlier: Earlier, check: str, lacks: str, who: str) -> Finding:
    known = taken.signed_by("instance")
    if known and _awaits_notice(taken):
        return taken.finding("fault", "audit.notice", f"{who} acted on what is proposed and not yet in force: {lacks}")
    overtaken = earlier.latest(taken)
    if overtaken is not None and not _knew(taken, earlier.public(overtaken.size)):
        if isinstance(taken.record, Epoch) and check == "epoch.chain":
            return taken.finding("note", "audit.overtaken", f"another KMS instance was first to rotate: {lacks}")
        says = f"would have counted after entry {overtaken.size - 1}; what came before it since left it without effect"
        return taken.finding("warning", "audit.overtaken", f"{says}: {lacks}")
    if known:
        return taken.finding("fault", check, f"{who} signed what no state of the log before allows: {lacks}")
    return taken.finding("warning", check, f"a KMS shows itself in vain: {lacks}")


def _knew(taken: Taken, public: int | None) -> bool:
    """Whether a KMS made the entry long after what left it without effect was public: it looks before it acts."""
    at = getattr(taken.record, "at", None)
    return at is not None and public is not None and at > public + SLACK


def _second_genesis(taken: Taken) -> bool:
    record = taken.record
    return isinstance(record, Constitution) and record.sequence == 0


def _awaits_notice(taken: Taken) -> bool:
    """Whether what a KMS acts on is a successor that is proposed and not in force."""
    record, state = taken.record, taken.before
    proposals = [one.successor.digest() for one in state.rules.proposals]
    proposals += [one.successor.digest() for line in state.lines.values() for one in line.governed.proposals]
    named = record.contract if isinstance(record, Epoch | Release) else b""
    named = record.constitution if isinstance(record, KmsInstance) else named
    return named in proposals
