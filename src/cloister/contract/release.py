"""Decides whether a transport key may go to a node: a pure function of the ledger's state, the evidence and the time.

The KMS asks `examine_release` before it logs a release, and `examine_publication` before the key leaves.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Protocol

from cloister.attest.evidence import AppraisedEvidence, Expected, examine_evidence
from cloister.attest.seen import SeenEndorsements
from cloister.contract.epochs import gone_from
from cloister.contract.release_policy import (
    Purpose,
    examine_release_policy,
    grants_in_force,
    policies_of,
    release_claims,
)
from cloister.contract.release_steps import PUBLICATION_STEPS, RELEASE_STEPS
from cloister.contract.state import ContractLine, EpochRecord, State
from cloister.crypto.merkle import BadProof, check_inclusion, leaf_hash
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.formats import key_config
from cloister.formats.contract import TIERS, Contract
from cloister.formats.evidence import Evidence
from cloister.ledger.checkpoints import VerifiedCheckpoint


class ReleaseRefused(Refused):
    """The KMS does not let the key go."""


@dataclass(frozen=True, slots=True)
class ReleaseDecision:
    """The key of `epoch` may go to the node in `evidence` once the release is in the witnessed log. Built only here."""

    line: bytes  # the digest of the first contract of the line
    contract: bytes  # the digest of the contract in force
    epoch: EpochRecord
    evidence: AppraisedEvidence
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedRelease:
    """A decision whose entry a quorum of witnesses has seen. Only now does the key leave. Built only here."""

    decision: ReleaseDecision
    index: int


class Shown(Protocol):
    """What any request of a node's shows of it."""

    @property
    def evidence(self) -> Evidence:
        """The node's."""

    @property
    def challenge(self) -> bytes:
        """The one in the evidence."""

    @property
    def challenge_live(self) -> bool:
        """Whether the KMS issued it, has not seen it used, and it has not expired."""

    @property
    def seen(self) -> SeenEndorsements:
        """What the KMS met in evidence before."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A node's request, as the KMS has parsed it."""

    contract: bytes  # the digest of the first contract of the line
    key_id: int
    evidence: Evidence
    challenge: bytes  # the one in the evidence, if the KMS issued it, has not seen it used, and it has not expired
    challenge_live: bool
    seen: SeenEndorsements  # what the KMS met in evidence before


def examine_release(state: State, asked: Asked, *, held: Container[bytes], at: int) -> Examination[ReleaseDecision]:
    """Hold a node's request against the contract in force at `at` (seconds since 1970).

    `held` are the epochs, by the digests of their entries, whose keys the KMS instance that asks this holds.
    """
    steps = Steps(RELEASE_STEPS, ReleaseRefused)
    # 1. A contract that the witnessed log holds.
    line = state.lines.get(asked.contract)
    steps.check("release.contract", line is not None, f"no contract {asked.contract.hex()[:16]}… in the log")
    if line is None:
        return steps.stopped()
    contract = line.current
    steps.check("release.contract", not line.ended, "the contract was revoked by one who may")
    # 2. In force now.
    valid = contract.not_before <= at < contract.not_after
    steps.check("release.validity", valid, "the contract is not valid at this time")
    # 3. A key of its own, that this instance holds, within its life, and not taken back.
    epoch = _epoch(steps, line, asked.key_id, held, at)
    # 4. The node.
    appraised = check_evidence(steps, line, asked, at)
    if epoch is None or appraised is None:
        return steps.stopped()
    # 5. What the node is set to run is what the contract names, and its owner lets it run now.
    check_settings(steps, contract, appraised, at=at)
    # 6. Whatever else the owners demand of a node that uses what is theirs.
    purpose = Purpose(asked.contract, contract, contract.serving.name, asked.evidence.binding.role)
    policies = policies_of(contract, appraised, at=at)
    steps.include(examine_release_policy(policies, release_claims(appraised, purpose, at=at)))
    return steps.examined(lambda: ReleaseDecision(asked.contract, contract.digest(), epoch, appraised, steps.ids))


def examine_publication(
    decision: ReleaseDecision,
    entry: bytes,
    *,
    index: int,
    path: tuple[bytes, ...],
    checkpoint: VerifiedCheckpoint,
    state: State,
) -> Examination[PublishedRelease]:
    """Log, then act: the release's entry is in a checkpoint that the quorum cosigned, and nothing changed meanwhile.

    `checkpoint` was verified against the constitution in force; `state` is the fold up to and including the entry.
    """
    steps = Steps(PUBLICATION_STEPS, ReleaseRefused)
    # 1. Inclusion under the cosigned root.
    steps.attempt(
        "release.inclusion",
        lambda: check_inclusion(leaf_hash(entry), index, checkpoint.size, path, checkpoint.root),
        BadProof,
    )
    # 2. Between decision and publication no amendment or revocation came into force.
    line = state.lines.get(decision.line)
    record = next((one for one in line.releases if one.placed.entry == entry), None) if line else None
    now = checkpoint.cosigned_at  # waiting for the log took time
    unchanged = (
        line is not None
        and not line.ended
        and line.current.not_before <= now < line.current.not_after
        and now < gone_from(line, decision.epoch)
        and line.current.digest() == decision.contract
        and decision.epoch.placed.digest not in line.revoked
        and (record is None or record.instance in state.instances)
    )
    steps.check(
        "release.unchanged", unchanged, "the contract, the constitution or the epoch changed or ended meanwhile"
    )
    # 3. It took effect there: the fold knows it, so that everyone who replays the log sees who got the key.
    steps.check("release.effect", record is not None, "the log's rules give the release no effect")
    return steps.examined(lambda: PublishedRelease(decision, index))


def _epoch(steps: Steps, line: ContractLine, key_id: int, held: Container[bytes], at: int) -> EpochRecord | None:
    contract = line.current.digest()
    found = [
        record
        for record in line.epochs
        if key_config.decode(record.epoch.key_config).key_id == key_id and record.epoch.contract == contract
    ]
    if not steps.check("release.epoch", bool(found), f"no key {key_id} for the contract in force"):
        return None
    epoch = found[-1]
    window = at < gone_from(line, epoch)
    steps.check("release.epoch-window", window, f"epoch {epoch.epoch.number} is over")
    revoked = epoch.placed.digest in line.revoked
    steps.check("release.revoked", not revoked, f"epoch {epoch.epoch.number} is revoked")
    if window and not revoked:
        here = epoch.placed.digest in held
        steps.check("release.epoch", here, f"the key of epoch {epoch.epoch.number} is not at this instance")
    return epoch


def check_evidence(steps: Steps, line: ContractLine, asked: Shown, at: int) -> AppraisedEvidence | None:
    """The node in the role that the contract names for it, not revoked, with evidence that answers us."""
    role = asked.evidence.binding.role
    revoked = asked.evidence.keys.sign in line.revoked_nodes
    steps.check("release.node", not revoked, "the node is revoked: it has to start with new keys")
    contract = line.current
    reference = next((reference for reference in contract.serving.nodes if reference.role == role), None)
    steps.check("release.role", reference is not None, f"the contract names no {role}")
    steps.check("release.challenge", asked.challenge_live, "not issued here, used before, or expired")
    if reference is None:
        return None
    expected = Expected(asked.challenge, contract.digest(), reference)
    return steps.include(examine_evidence(asked.evidence, contract.appraisal, expected, at=at, seen=asked.seen))


def check_settings(steps: Steps, contract: Contract, appraised: AppraisedEvidence, *, at: int) -> None:
    """The node enforces these itself; its measured code and bound settings say which values it enforces."""
    values, task = appraised.values, contract.serving
    profiles = {profile.hex() for profile in task.sandbox.profiles}
    steps.check("release.sandbox", values.get("sandbox") in profiles, "another sandbox profile")
    confined = TIERS[TIERS.index(task.sandbox.tier) :]
    shortfall = f"the sandbox is of a lower tier than {task.sandbox.tier}"
    steps.check("release.tier", values.get("tier") in confined, shortfall)
    steps.check("release.engine", values.get("engine") == task.engine.digest.hex(), "another engine")
    granted = {grant.asset for grant in grants_in_force(contract, task.name, at=at)}
    models = {asset.digest.hex() for asset in contract.assets if asset.kind == "model" and asset.name in granted}
    steps.check("release.model", values.get("model") in models, "a model that no grant in force lets this task use")
    named = values.get("endpoints") == " ".join(f"{endpoint.method} {endpoint.path}" for endpoint in task.endpoints)
    steps.check("release.endpoints", named, "other endpoints")
