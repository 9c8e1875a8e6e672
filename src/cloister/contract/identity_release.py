"""Decides whether a certificate may go to a node: a pure function of the ledger's state, the evidence and the time.

The KMS asks `examine_identity` before it logs an identity, of itself `examine_own_identity`, and `examine_issue` before
the certificate is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cloister.attest.evidence import EVIDENCE_STEPS, AppraisedEvidence, Expected, examine_evidence
from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements
from cloister.contract.identity_key import possessed_key
from cloister.contract.identity_records import IdentityRecord
from cloister.contract.node_request import check_evidence, check_in_force, check_settings, still_in_force
from cloister.contract.release import ReleaseRefused
from cloister.contract.release_steps import IN_FORCE_STEPS, OPENING_STEPS, SETTINGS_STEPS
from cloister.contract.state import State
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.evidence import Evidence, Role
from cloister.formats.identity import IdentityKey
from cloister.formats.spiffe import SpiffeName
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.ledger.inclusion import check_included

IDENTITY_STEPS: Final = (*OPENING_STEPS, *SETTINGS_STEPS, "identity.key")
OWN_IDENTITY_STEPS: Final = (*IN_FORCE_STEPS, "identity.instance", *EVIDENCE_STEPS, "identity.key")
ISSUE_STEPS: Final = ("release.inclusion", "release.unchanged", "identity.effect")


@dataclass(frozen=True, slots=True)
class IdentityAsked:
    """A node's request for a certificate, as the KMS has parsed it."""

    contract: bytes  # the digest of the first contract of the line
    key: bytes  # an `IdentityKey`, signed by the node
    proof: bytes  # that the node has the key
    evidence: Evidence
    challenge: bytes  # the one in the evidence, if the KMS issued it, has not seen it used, and it has not expired
    challenge_live: bool
    seen: SeenEndorsements


@dataclass(frozen=True, slots=True)
class IdentityDecision:
    """The node may have a certificate once its identity is in the witnessed log. Built only here."""

    line: bytes  # the digest of the first contract of the line
    contract: bytes  # the digest of the contract in force
    name: SpiffeName
    key: bytes  # SubjectPublicKeyInfo
    ends: int  # of the contract, in seconds since 1970
    evidence: AppraisedEvidence
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedIdentity:
    """An identity that a quorum of witnesses has seen. Only now is the certificate made. Built only here."""

    decision: IdentityDecision
    record: IdentityRecord
    index: int


def identity_steps(role: Role) -> Sequence[str]:
    """The steps on a node of `role`: an engine and its sandbox are a gateway's alone."""
    return [step for step in IDENTITY_STEPS if role == "gateway" or step not in SETTINGS_STEPS]


def examine_identity(state: State, asked: IdentityAsked, *, at: int) -> Examination[IdentityDecision]:
    """Hold a node's request for a certificate against the contract in force at `at` (seconds since 1970)."""
    role = asked.evidence.binding.role
    steps = Steps(identity_steps(role), ReleaseRefused)
    # 1. The contract, in force now, and the node, as for a transport key.
    line = check_in_force(steps, state, asked, at=at)
    if line is None:
        return steps.stopped()
    contract = line.current
    appraised = check_evidence(steps, line, asked, at)
    if appraised is None:
        return steps.stopped()
    # 2. A gateway runs what the contract names; what a service is, its settings and measurement say.
    if role == "gateway":
        check_settings(steps, contract, appraised, at=at)
    # 3. The key is one that this node named just now, and has.
    said = _key(steps, asked)
    if said is None:
        return steps.stopped()
    name = SpiffeName(asked.contract, contract.sequence, role, appraised.keys.thumbprint())
    return steps.examined(
        lambda: IdentityDecision(
            asked.contract, contract.digest(), name, said.key, contract.not_after, appraised, steps.ids
        )
    )


def examine_own_identity(state: State, asked: IdentityAsked, *, at: int) -> Examination[IdentityDecision]:
    """Hold a KMS instance, which asks itself, against constitution and contract in force at `at`.

    Nobody challenges it: its evidence answers what it likes, and the log took the instance in.
    """
    steps = Steps(OWN_IDENTITY_STEPS, ReleaseRefused)
    # 1. A contract to speak under.
    line = check_in_force(steps, state, asked, at=at)
    if line is None:
        return steps.stopped()
    # 2. An instance that everyone who replays the log knows, and what it is.
    known = asked.evidence.keys.sign in state.instances
    steps.check("identity.instance", known, "is no KMS instance that the log took in")
    rules = state.constitution
    expected = Expected(asked.challenge, rules.digest(), rules.kms)
    appraised = steps.include(examine_evidence(asked.evidence, rules.appraisal, expected, at=at, seen=SEEN_NOTHING))
    # 3. A key of its own.
    said = _key(steps, asked)
    if appraised is None or said is None:
        return steps.stopped()
    contract = line.current
    name = SpiffeName(asked.contract, contract.sequence, "kms", appraised.keys.thumbprint())
    return steps.examined(
        lambda: IdentityDecision(
            asked.contract, contract.digest(), name, said.key, contract.not_after, appraised, steps.ids
        )
    )


def examine_issue(
    decision: IdentityDecision,
    entry: bytes,
    *,
    index: int,
    path: tuple[bytes, ...],
    checkpoint: VerifiedCheckpoint,
    state: State,
) -> Examination[PublishedIdentity]:
    """Log, then issue: the identity is in a checkpoint that the quorum cosigned, and the fold counts it."""
    steps = Steps(ISSUE_STEPS, ReleaseRefused)
    # 1. Inclusion under the cosigned root.
    check_included(steps, "release.inclusion", entry, index=index, path=path, checkpoint=checkpoint)
    # 2. Nothing overtook it: neither contract nor constitution, nor a revocation of the node.
    line = state.lines.get(decision.line)
    record = None if line is None else next((one for one in line.identities.issued if one.placed.entry == entry), None)
    unchanged = (
        line is not None
        and still_in_force(line, decision.contract, at=checkpoint.cosigned_at)
        and decision.evidence.keys.sign not in line.revoked_nodes
        and (record is None or record.instance in state.instances)
    )
    steps.check("release.unchanged", unchanged, "the contract, the constitution or the node changed or ended meanwhile")
    # 3. It took effect: everyone who replays the log sees what was issued.
    steps.check("identity.effect", record is not None, "the log's rules give the identity no effect")
    if record is None:
        return steps.stopped()
    return steps.examined(lambda: PublishedIdentity(decision, record, index))


def _key(steps: Steps, asked: IdentityAsked) -> IdentityKey | None:
    node = asked.evidence.keys.sign
    said = steps.attempt(
        "identity.key",
        lambda: possessed_key(asked.key, asked.proof, line=asked.contract, node=node),
        BadSignature,
        MalformedInput,
        TooLarge,
    )
    if said is not None:
        now = said.challenge == asked.challenge
        steps.check("identity.key", now, "was named for another challenge than the evidence answers")
    return said
