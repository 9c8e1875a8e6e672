"""Ledgers that a colluding operator could show: an honest one with one thing changed, signed anew wherever that helps.

The forger has the keys of the log and of all witnesses, so every checkpoint holds, those inside the log too. For some
forgeries it has those of a KMS instance or a party as well, which only a broken TEE or a traitor would give it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from tests.doubles.honest_ledger import FIXED, HOUR, HonestLedger
from tests.doubles.kms_system import AskingNode, WorldTee

from cloister.contract.audit.auditor import Audit, audit
from cloister.contract.audit.notes import ShownNote
from cloister.contract.audit.payloads import read_payload
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.checkpoint import parse_note
from cloister.formats.constitution import Constitution
from cloister.formats.governance import Vote, WitnessedTime
from cloister.formats.release import KmsInstance
from cloister.ledger.statements import entry_digest, open_statement, sign_statement
from cloister.testing import world
from cloister.testing.memory_log import MemoryLog
from cloister.testing.world import DAY

replace = msgspec.structs.replace
STRANGER = SigningKey.generate()


class Forger:
    """An honest ledger's entries, to change; `retell` makes every checkpoint in and over them fit again."""

    def __init__(self, honest: HonestLedger) -> None:
        self.honest = honest
        self.entries = list(honest.entries)
        self.blobs = dict(honest.ledger.blobs)
        self.notes: list[ShownNote] | None = None  # the honest one's, or made anew, where nothing is said

    def at(self, name: str) -> int:
        return self.honest.places[name]

    def record(self, name: str) -> Any:
        return read_payload(open_statement(self.honest.entries[self.at(name)]))

    def signed(self, name: str, key: SigningKey, **changes: object) -> bytes:
        """The entry of that name with changes, signed by `key` alone."""
        kind = open_statement(self.honest.entries[self.at(name)]).kind
        return sign_statement(kind, replace(self.record(name), **changes), (key,))

    def by_kms(self, name: str, *, instance: str = "kms", **changes: object) -> bytes:
        return self.signed(name, self.honest.instances[instance], **changes)

    def replace(self, name: str, entry: bytes) -> None:
        self.entries[self.at(name)] = entry

    def insert(self, index: int, entry: bytes) -> None:
        self.entries.insert(index, entry)

    def remove(self, name: str) -> None:
        del self.entries[self.at(name)]

    def note(self, entries: Sequence[bytes] | None = None, **signed: Any) -> bytes:
        """A cosigned checkpoint over entries, these where none are given."""
        log = self.honest.world.log
        kept, log.entries = log.entries, list(self.entries if entries is None else entries)
        try:
            return log.checkpoint(**({"at": self.honest.now} | signed))
        finally:
            log.entries = kept

    def retell(self) -> None:
        """Sign every checkpoint in the log anew, at the times of the old ones, over what stands before it now."""
        for index, entry in enumerate(self.entries):
            try:
                statement = open_statement(entry)
            except (MalformedInput, BadSignature):
                continue
            if statement.kind == "time":
                record = read_payload(statement)
                assert isinstance(record, WitnessedTime)
                note = self.note(self.entries[:index], at=cosigned(record.note))
                self.entries[index] = sign_statement("time", WitnessedTime(note=note), (STRANGER,))

    @property
    def shown(self) -> Sequence[ShownNote]:
        """The checkpoints that an auditor gets to see."""
        return self.notes if self.notes is not None else [ShownNote(self.note())]

    def audit(self) -> Audit:
        return audit(self.entries, self.blobs, self.shown, genesis=self.honest.constitution.digest())


def cosigned(note: bytes) -> int:
    """The time of a note's first cosignature."""
    return int.from_bytes(parse_note(note).signatures[1].signature[:8], "big")


@dataclass(frozen=True)
class Forgery:
    """What a forger does, and what the audit has to say of it: which check, where, how grave."""

    forge: Callable[[Forger], None]
    check: str
    place: Callable[[Forger], int | None] = field(default=lambda _: None)
    severity: str = "fault"
    retold: bool = True  # whether all checkpoints are signed anew

    def made(self, honest: HonestLedger) -> Forger:
        forger = Forger(honest)
        self.forge(forger)
        if self.retold:
            forger.retell()
        return forger


def here(name: str, shift: int = 0) -> Callable[[Forger], int]:
    return lambda forger: forger.at(name) + shift


# The log itself.


def cut_off(forger: Forger) -> None:
    forger.notes = [ShownNote(forger.note())]
    forger.entries.pop()


def replaced_under_its_checkpoint(forger: Forger) -> None:
    forger.notes = [ShownNote(forger.note())]
    forger.replace("release of the new kms", forger.by_kms("release of the new kms", instance="new kms", at=1))


def swapped_under_its_checkpoint(forger: Forger) -> None:
    forger.notes = [ShownNote(forger.note())]
    first, second = forger.at("revoked release"), forger.at("revoked epoch")
    forger.entries[first], forger.entries[second] = forger.entries[second], forger.entries[first]


def cosigned_by_one(forger: Forger) -> None:
    forger.notes = [ShownNote(forger.note(cosigners=1))]


def signed_by_another_log(forger: Forger) -> None:
    other = MemoryLog(origin=forger.honest.world.log.log.origin, witnesses=2)
    other.entries = list(forger.entries)
    forger.notes = [ShownNote(other.checkpoint(at=forger.honest.now))]


def forked_since(forger: Forger) -> None:
    veto = forger.at("veto by model owner")
    before = ShownNote(forger.note(forger.entries[: veto + 1]), "the checkpoint of before", before=True)
    forger.entries = [*forger.entries[:veto], *forger.entries[veto + 1 : forger.at("approval")]]
    forger.retell()
    forger.notes = [before, ShownNote(forger.note())]


def two_heads(forger: Forger) -> None:
    other = [*forger.entries[:-1], b"another last entry"]
    forger.notes = [ShownNote(forger.note(), "one checkpoint"), ShownNote(forger.note(other), "the other")]


def rewritten_before_a_time(forger: Forger) -> None:
    forger.replace("release", forger.by_kms("release", at=forger.record("release").at + 1))


def no_statement(forger: Forger) -> None:
    forger.insert(5, b"anything")


def broken_signature(forger: Forger) -> None:
    """The first contract with another appraisal policy, under the signatures of the one that was signed."""
    entry = forger.entries[1]
    key = forger.honest.parties.platform.public
    forger.entries[1] = entry.replace(key, STRANGER.public)


def logged_twice(forger: Forger) -> None:
    forger.insert(forger.at("release") + 1, forger.entries[forger.at("release")])


# Constitutions and contracts.


def _other_genesis(forger: Forger) -> bytes:
    other = replace(forger.honest.constitution, name="another")
    return sign_statement("constitution", other, forger.honest.signers)


def begins_with_another_genesis(forger: Forger) -> None:
    forger.entries[0] = _other_genesis(forger)


def second_genesis(forger: Forger) -> None:
    forger.insert(5, _other_genesis(forger))


def second_genesis_by_a_stranger(forger: Forger) -> None:
    other = replace(forger.honest.constitution, name="another")
    assert isinstance(other, Constitution)
    forger.insert(5, sign_statement("constitution", other, (STRANGER,)))


def appraisal_swapped_by_all(forger: Forger) -> None:
    appraisal = replace(forger.honest.contract.appraisal, roots="vendors", unsafe=())
    contract = replace(forger.honest.contract, appraisal=appraisal)
    forger.entries[1] = sign_statement("contract", contract, list(forger.honest.keys.values()))


def appraisal_swapped_by_the_operator(forger: Forger) -> None:
    """A successor with another appraisal policy that the operator alone proposes, and a KMS that acts on it."""
    first = forger.honest.contract
    appraisal = replace(first.appraisal, unsafe=())
    successor = replace(first, sequence=1, previous=first.digest(), appraisal=appraisal)
    forger.insert(5, sign_statement("contract", successor, (forger.honest.operator,)))
    forger.insert(6, forger.by_kms("release", contract=successor.digest()))


def vote_before_its_proposal(forger: Forger) -> None:
    vote = forger.entries.pop(forger.at("approve by auditor"))
    forger.insert(forger.at("proposal"), vote)


def _vote(forger: Forger, proposal: str, key: SigningKey, choice: Any = "approve") -> bytes:
    digest = entry_digest(forger.entries[forger.at(proposal)])
    return sign_statement("vote", Vote(proposal=digest, choice=choice), (key,))


def vote_after_the_veto(forger: Forger) -> None:
    forger.insert(10, _vote(forger, "proposal", forger.honest.parties.owner))


def vote_of_a_stranger(forger: Forger) -> None:
    forger.insert(6, _vote(forger, "proposal", STRANGER))


def vote_without_a_say(forger: Forger) -> None:
    forger.insert(6, _vote(forger, "proposal", forger.honest.publisher))


def veto_without_the_right(forger: Forger) -> None:
    forger.insert(6, _vote(forger, "proposal", forger.honest.auditor, "veto"))


def notice_left_out(forger: Forger) -> None:
    """The word of the witnesses that ends the notice is missing, and the KMS acts as if it had ended."""
    del forger.entries[forger.at("second epoch") - 1]


def notice_ended_an_hour_early(forger: Forger) -> None:
    index = forger.at("second epoch") - 1
    record = read_payload(open_statement(forger.entries[index]))
    assert isinstance(record, WitnessedTime)
    note = forger.note(forger.entries[:index], at=cosigned(record.note) - HOUR)
    forger.entries[index] = sign_statement("time", WitnessedTime(note=note), (STRANGER,))


def urgent_fix_by_the_operator(forger: Forger) -> None:
    forger.replace("urgent fix", forger.signed("urgent fix", forger.honest.operator))


# Epochs.


def backdated_rotation(forger: Forger) -> None:
    old = forger.record("epoch after revocation")
    forger.replace(
        "epoch after revocation", forger.by_kms("epoch after revocation", not_before=old.not_before - 2 * HOUR)
    )


def overlapping_rotation(forger: Forger) -> None:
    old = forger.record("rotation")
    forger.replace("rotation", forger.by_kms("rotation", not_before=old.not_before - HOUR))


def epoch_longer_than_attested(forger: Forger) -> None:
    old = forger.record("epoch")
    forger.replace("epoch", forger.by_kms("epoch", stale_until=old.stale_until + 1))


def epoch_after_its_contract(forger: Forger) -> None:
    end = forger.honest.contract.not_after
    forger.replace("epoch", forger.by_kms("epoch", not_before=end, not_after=end + 1, stale_until=end + 2))


def rotation_from_another(forger: Forger) -> None:
    first = entry_digest(forger.entries[forger.at("epoch")])
    forger.replace("rotation", forger.by_kms("rotation", previous=first))


def epoch_of_a_stranger(forger: Forger) -> None:
    forger.replace("rotation", forger.signed("rotation", STRANGER))


# Releases.


def evidence_not_kept(forger: Forger) -> None:
    del forger.blobs[forger.record("release").evidence]


def evidence_exchanged(forger: Forger) -> None:
    forger.blobs[forger.record("release").evidence] = forger.blobs[forger.record("second release").evidence]


def evidence_that_is_none(forger: Forger) -> None:
    junk = b"no evidence"
    forger.blobs[entry_digest(junk)] = junk
    forger.replace("last release", forger.by_kms("last release", evidence=entry_digest(junk)))


def key_of_an_epoch_that_is_not_there(forger: Forger) -> None:
    forger.remove("epoch")


def key_to_another_node(forger: Forger) -> None:
    other = AskingNode(forger.honest).secrets.public
    forger.replace("last release", forger.by_kms("last release", node=other))


def code_that_the_contract_does_not_name(forger: Forger) -> None:
    """As if the KMS had not looked at the workload: valid evidence of code that the fix put out of force."""
    node = AskingNode(forger.honest)
    node.tee = WorldTee(forger.honest.parties.platform)
    node.subject = forger.record("last release").contract
    _release_with(forger, node)


def evidence_for_another_contract(forger: Forger) -> None:
    node = AskingNode(forger.honest)
    node.tee = WorldTee(forger.honest.parties.platform, workload=FIXED)
    _release_with(forger, node)


def _release_with(forger: Forger, node: AskingNode) -> None:
    blob = canonical.encode(node.evidence(bytes(32)))
    forger.blobs[entry_digest(blob)] = blob
    forger.replace("last release", forger.by_kms("last release", evidence=entry_digest(blob), node=node.secrets.public))


def checks_left_out(forger: Forger) -> None:
    checks = tuple(check for check in forger.record("last release").checks if check != "evidence.workload")
    forger.replace("last release", forger.by_kms("last release", checks=checks))


def release_to_a_revoked_node(forger: Forger) -> None:
    forger.insert(forger.at("revoked release") + 1, forger.by_kms("fixed release", checks=("evidence.workload",)))


def release_by_an_instance_just_retired(forger: Forger) -> None:
    old = forger.record("last release")
    forger.insert(forger.at("new kms"), forger.by_kms("last release", at=old.at + 1))


def release_by_an_instance_long_retired(forger: Forger) -> None:
    """Witnesses had seen its constitution's successor in force for hours when it says that it acted."""
    at = forger.honest.now + 2 * HOUR
    forger.entries.append(forger.by_kms("last release", at=at))
    forger.notes = [ShownNote(forger.note(at=at))]


def release_dated_back(forger: Forger) -> None:
    old = forger.record("last release")
    forger.replace("last release", forger.by_kms("last release", at=old.at - 2 * DAY))


def release_dated_ahead(forger: Forger) -> None:
    forger.replace("release", forger.by_kms("release", at=forger.record("release").at + 2 * HOUR))


def kms_that_is_not_named(forger: Forger) -> None:
    """A KMS of other code shows itself, with evidence that is true."""
    node = world.Node()
    subject = forger.honest.constitution.digest()
    shown = world.evidence(forger.honest.parties.platform, "kms", node, challenge=bytes(32), subject=subject)
    record = KmsInstance(constitution=subject, evidence=canonical.encode(shown), at=world.NOON)
    forger.insert(5, sign_statement("kms", record, (node.sign,)))


FORGERIES: Mapping[str, Forgery] = {
    "a log cut off behind its checkpoint": Forgery(
        cut_off, "audit.size", lambda forger: len(forger.entries), retold=False
    ),
    "an entry replaced under its checkpoint": Forgery(replaced_under_its_checkpoint, "audit.root", retold=False),
    "two entries swapped under their checkpoint": Forgery(swapped_under_its_checkpoint, "audit.root", retold=False),
    "a checkpoint with fewer cosignatures than the quorum": Forgery(cosigned_by_one, "checkpoint.witnesses"),
    "a checkpoint that another log signed": Forgery(signed_by_another_log, "checkpoint.signature"),
    "a veto taken out of a log that was seen before": Forgery(forked_since, "audit.fork", retold=False),
    "two checkpoints of one size": Forgery(two_heads, "audit.fork", retold=False),
    "a log rewritten before a time that it holds": Forgery(
        rewritten_before_a_time, "audit.fork", here("proposal", 1), retold=False
    ),
    "an entry that is no statement": Forgery(no_statement, "audit.entry", lambda _: 5),
    "an appraisal policy swapped under its signatures": Forgery(broken_signature, "audit.entry", lambda _: 1),
    "an entry logged twice": Forgery(logged_twice, "audit.once", here("release", 1)),
    "another genesis": Forgery(begins_with_another_genesis, "constitution.genesis", lambda _: 0),
    "a second genesis": Forgery(second_genesis, "audit.genesis", lambda _: 5),
    "a second genesis of a stranger": Forgery(
        second_genesis_by_a_stranger, "audit.genesis", lambda _: 5, severity="note"
    ),
    "an appraisal policy swapped by all parties": Forgery(
        appraisal_swapped_by_all, "contract.succession", here("epoch")
    ),
    "an appraisal policy swapped by the operator": Forgery(
        appraisal_swapped_by_the_operator, "audit.notice", lambda _: 6
    ),
    "a vote put before its proposal": Forgery(vote_before_its_proposal, "audit.order", here("proposal")),
    "a vote after the veto": Forgery(vote_after_the_veto, "vote.open", lambda _: 10, severity="warning"),
    "a vote of a stranger": Forgery(vote_of_a_stranger, "vote.signature", lambda _: 6, severity="note"),
    "a vote of a party that approves nothing": Forgery(
        vote_without_a_say, "vote.approver", lambda _: 6, severity="warning"
    ),
    "a veto of a party without one": Forgery(veto_without_the_right, "vote.veto", lambda _: 6, severity="warning"),
    "a notice whose end is left out": Forgery(notice_left_out, "audit.notice", here("second epoch", -1)),
    "a notice that ends an hour early": Forgery(notice_ended_an_hour_early, "audit.notice", here("second epoch")),
    "an urgent fix by the operator": Forgery(urgent_fix_by_the_operator, "audit.notice", here("urgent fix", 1)),
    "a rotation dated back": Forgery(backdated_rotation, "audit.window", here("epoch after revocation")),
    "a rotation that overlaps": Forgery(overlapping_rotation, "audit.window", here("rotation")),
    "an epoch longer than its KMS is attested to make": Forgery(
        epoch_longer_than_attested, "audit.window", here("epoch")
    ),
    "an epoch after its contract": Forgery(epoch_after_its_contract, "audit.window", here("epoch")),
    "a rotation that names another previous": Forgery(rotation_from_another, "epoch.chain", here("rotation")),
    "a rotation of a stranger": Forgery(epoch_of_a_stranger, "kms.signature", here("rotation"), severity="warning"),
    "a release whose evidence is not kept": Forgery(evidence_not_kept, "audit.kept", here("release")),
    "a release whose evidence was exchanged": Forgery(evidence_exchanged, "audit.kept", here("release")),
    "a release whose evidence is none": Forgery(evidence_that_is_none, "audit.evidence", here("last release")),
    "a release whose epoch has no entry": Forgery(
        key_of_an_epoch_that_is_not_there, "gateway.epoch", here("release", -1)
    ),
    "a release to another node": Forgery(key_to_another_node, "audit.node", here("last release")),
    "a release to code that the contract does not name": Forgery(
        code_that_the_contract_does_not_name, "evidence.workload", here("last release")
    ),
    "a release on evidence for another contract": Forgery(
        evidence_for_another_contract, "evidence.subject", here("last release")
    ),
    "a release with a check left out": Forgery(
        checks_left_out, "audit.checks", here("last release"), severity="warning"
    ),
    "a release after its node's revocation": Forgery(
        release_to_a_revoked_node, "audit.overtaken", here("revoked release", 1), severity="warning"
    ),
    "a release by an instance just retired": Forgery(
        release_by_an_instance_just_retired, "audit.overtaken", here("new kms"), severity="warning"
    ),
    "a release by an instance long retired": Forgery(
        release_by_an_instance_long_retired, "kms.signature", lambda forger: len(forger.entries) - 1
    ),
    "a release dated back": Forgery(release_dated_back, "audit.time", here("last release")),
    "a release dated ahead": Forgery(release_dated_ahead, "audit.time", here("release"), severity="warning"),
    "a KMS that the constitution does not name": Forgery(
        kms_that_is_not_named, "evidence.settings", lambda _: 5, severity="warning"
    ),
}
