"""Decides whether a transport key may go to a node: a pure function of the ledger's state, the evidence and the time.

The KMS asks `examine_release` before it logs a release, and `examine_publication` before the key leaves.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from cloister.attest.evidence import AppraisedEvidence
from cloister.attest.seen import SeenEndorsements
from cloister.contract.epochs import gone_from
from cloister.contract.node_request import check_evidence, check_in_force, check_settings, still_in_force
from cloister.contract.release_policy import Purpose, examine_release_policy, policies_of, release_claims
from cloister.contract.release_steps import PUBLICATION_STEPS, RELEASE_STEPS
from cloister.contract.state import ContractLine, EpochRecord, State
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.formats import key_config
from cloister.formats.evidence import Evidence
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.ledger.inclusion import check_included


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
    # 1. A contract that the witnessed log holds, in force now.
    line = check_in_force(steps, state, asked, at=at)
    if line is None:
        return steps.stopped()
    contract = line.current
    # 2. A key of its own, that this instance holds, within its life, and not taken back.
    epoch = _epoch(steps, line, asked.key_id, held, at)
    # 3. The node.
    appraised = check_evidence(steps, line, asked, at)
    if epoch is None or appraised is None:
        return steps.stopped()
    # 4. What the node is set to run is what the contract names, and its owner lets it run now.
    check_settings(steps, contract, appraised, at=at)
    # 5. Whatever else the owners demand of a node that uses what is theirs.
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
    check_included(steps, "release.inclusion", entry, index=index, path=path, checkpoint=checkpoint)
    # 2. Between decision and publication no amendment or revocation came into force.
    line = state.lines.get(decision.line)
    record = next((one for one in reversed(line.releases) if one.placed.entry == entry), None) if line else None
    now = checkpoint.cosigned_at  # waiting for the log took time
    unchanged = (
        line is not None
        and still_in_force(line, decision.contract, at=now)
        and now < gone_from(line, decision.epoch)
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
