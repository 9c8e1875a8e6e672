"""Releases, uses, handovers, identities, decided again: by their evidence, in the state before them, at their time.

The decision is the KMS's own pure function. What only the KMS could know is believed: that the challenge in the
evidence was its own, and not used before; what it had seen of vendors' endorsements until then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cloister.attest.seen import SEEN_NOTHING
from cloister.contract.asset_release import AssetDecision, AssetsAsked, examine_assets
from cloister.contract.audit.findings import Finding
from cloister.contract.audit.taken import Taken
from cloister.contract.audit.void import Earlier
from cloister.contract.handover import AskedByInstance, HandoverDecision, examine_handover
from cloister.contract.identity_release import (
    IdentityAsked,
    IdentityDecision,
    examine_identity,
    examine_own_identity,
)
from cloister.contract.release import Asked, ReleaseDecision, examine_release
from cloister.contract.state import ContractLine, State
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination, Outcome, Step
from cloister.formats import key_config
from cloister.formats.custody import Use
from cloister.formats.evidence import MAXIMUM_COMPLETED, Evidence, parse_evidence
from cloister.formats.handover import Handover, HandoverRequest
from cloister.formats.identity import Identity
from cloister.formats.release import Epoch, Release

Gate = Release | Use | Handover | Identity  # what lets something out of a KMS
Decided = (
    Examination[ReleaseDecision]
    | Examination[AssetDecision]
    | Examination[HandoverDecision]
    | Examination[IdentityDecision]
)


class ExaminedAgain:
    """Knows which instance can hold which key: it made the epoch, or the log says that it was handed to it."""

    def __init__(self) -> None:
        self._held: dict[bytes, set[bytes]] = {}  # epochs' digests by the instance's signing key

    def take(self, taken: Taken) -> None:
        """What an entry that counts says of who holds a key."""
        record = taken.record
        if not taken.counts:
            return
        if isinstance(record, Epoch):
            (signer,) = taken.statement.signers
            self._held.setdefault(signer, set()).add(taken.statement.digest)
        if isinstance(record, Handover):
            self._held.setdefault(record.to, set()).update(secret.name for secret in record.secrets)

    def examine(self, taken: Taken, blob: bytes | None, earlier: Earlier) -> Iterator[Finding]:
        """What is wrong with one that counts; `blob` is what the ledger keeps under the digest that it names."""
        record = taken.record
        if not taken.counts or not isinstance(record, Release | Use | Handover | Identity):
            return
        if blob is None:
            yield taken.finding("fault", "audit.kept", f"its evidence {record.evidence.hex()[:16]}… is not kept")
            return
        if hashlib.sha256(blob).digest() != record.evidence:
            yield taken.finding("fault", "audit.kept", "what is kept as its evidence is not what the entry names")
            return
        try:
            evidence = parse_evidence(blob, limit=MAXIMUM_COMPLETED)
        except (MalformedInput, TooLarge) as error:
            yield taken.finding("fault", "audit.evidence", f"what it names as evidence is none: {error}")
            return
        if not _is_of(evidence, record):
            yield taken.finding("fault", "audit.node", "is for another node than its evidence is of")
            return
        yield from self._decided(taken, record, evidence, earlier)

    def _decided(self, taken: Taken, record: Gate, evidence: Evidence, earlier: Earlier) -> Iterator[Finding]:
        found = self._examined(taken.before, taken, record, evidence)
        failed = _shortfall(found)
        if failed is None:
            yield from _checks(taken, record, found.require().checks)
            return
        said = f"{failed.id}: {failed.detail or failed.outcome.value}"
        before = earlier.of_rules() if isinstance(record, Handover) else earlier.of_line(record.contract)
        for state in before:
            if _shortfall(self._examined(state, taken, record, evidence)) is None:
                says = f"held after entry {state.size - 1}, and no more where it stands: {said}"
                yield taken.finding("warning", "audit.overtaken", says)
                return
        yield taken.finding("fault", failed.id, f"examined again, it does not hold: {said}")

    def _examined(self, state: State, taken: Taken, record: Gate, evidence: Evidence) -> Decided:
        (signer,) = taken.statement.signers
        held, challenge = self._held.get(signer, set()), evidence.binding.challenge
        if isinstance(record, Handover):
            request = HandoverRequest(constitution=record.constitution, wants=record.secrets, evidence=b"-")
            wanted = AskedByInstance(request, evidence, challenge, True, SEEN_NOTHING)
            return examine_handover(state, wanted, held=held, at=record.at)
        name, line = state.lines.in_force(record.contract) or (b"", None)
        if isinstance(record, Use):
            assets = tuple(_asset(line, digest) for digest in record.deposits)
            of_assets = AssetsAsked(name, assets, evidence, challenge, True, SEEN_NOTHING)
            return examine_assets(state, of_assets, at=record.at)
        if isinstance(record, Identity):
            of_node = IdentityAsked(name, record.key, record.proof, evidence, challenge, True, SEEN_NOTHING)
            judge = examine_own_identity if record.role == "kms" else examine_identity
            return judge(state, of_node, at=record.at)
        asked = Asked(name, _key_id(line, record.epoch), evidence, challenge, True, SEEN_NOTHING)
        return examine_release(state, asked, held=held, at=record.at)


def _is_of(evidence: Evidence, record: Gate) -> bool:
    if isinstance(record, Handover):
        return (record.to, "kms") == (evidence.keys.sign, evidence.binding.role)
    return (record.node, record.role) == (evidence.keys, evidence.binding.role)


def _checks(taken: Taken, record: Gate, found: tuple[str, ...]) -> Iterator[Finding]:
    if found != record.checks:
        differ = sorted({*found} ^ {*record.checks}) or ["another order"]
        says = f"states other checks than this version's examination has: {', '.join(differ)[:200]}"
        yield taken.finding("warning", "audit.checks", says)


def _shortfall(found: Decided) -> Step | None:
    """The step that failed, or that was not reached; None where all passed."""
    missed = [step for step in found.steps if step.outcome is not Outcome.PASSED]
    return min(missed, key=lambda step: step.outcome is not Outcome.FAILED, default=None)


def _key_id(line: ContractLine | None, epoch: bytes) -> int:
    """The key id of the epoch that a release names; one that no key has where there is no such epoch."""
    for record in () if line is None else line.epochs:
        if record.placed.digest == epoch:
            return key_config.decode(record.epoch.key_config).key_id
    return -1


def _asset(line: ContractLine | None, digest: bytes) -> str:
    deposits = {} if line is None else line.custody.deposits
    return next((asset for asset, one in deposits.items() if one.placed.digest == digest), "")
