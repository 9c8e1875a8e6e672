"""Decides whether secrets may go from one KMS instance to another, and whether what came is what was promised.

Pure functions of the ledger's state, the evidence and the time. The giver asks `examine_handover` before it logs a
handover and `examine_logged_handover` before anything leaves; the receiver asks `examine_handed` before it uses a key.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from cloister.attest.evidence import EVIDENCE_STEPS, AppraisedEvidence, Expected, examine_evidence
from cloister.attest.seen import SeenEndorsements
from cloister.contract.handovers import living_secrets
from cloister.contract.recovery import derives
from cloister.contract.state import State
from cloister.crypto.hpke import KemPrivateKey, OpenFailed, unwrap
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats import key_config
from cloister.formats.evidence import Evidence
from cloister.formats.handover import (
    HANDOVER_INFO,
    HandedOver,
    HandedSecret,
    HandoverReply,
    HandoverRequest,
    NamedSecret,
    parse_handed_over,
)
from cloister.ledger.statements import entry_digest
from cloister.secret import SecretBytes

HANDOVER_STEPS = (
    "handover.constitution",
    "handover.instance",
    "handover.challenge",
    *EVIDENCE_STEPS,
    "handover.secrets",
)

LOGGED_HANDOVER_STEPS = ("handover.effect", "handover.unchanged")

HANDED_STEPS = ("handed.logged", "handed.seal", "handed.secrets", "handed.keys")


class HandoverRefused(Refused):
    """No secret leaves this instance, or none is taken from another."""


@dataclass(frozen=True, slots=True)
class AskedByInstance:
    """Another instance's request, as the giver has parsed it."""

    request: HandoverRequest
    evidence: Evidence  # with what vendors say for it
    challenge: bytes  # the one in the evidence
    challenge_live: bool  # whether the giver issued it, has not seen it used, and it has not expired
    seen: SeenEndorsements


@dataclass(frozen=True, slots=True)
class HandoverDecision:
    """These secrets may go to the instance in `evidence` once that is in the witnessed log. Built only here."""

    constitution: bytes
    secrets: tuple[NamedSecret, ...]
    evidence: AppraisedEvidence
    checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishedHandover:
    """A decision whose entry took effect in the witnessed log. Only now do secrets leave. Built only here."""

    decision: HandoverDecision
    entry: bytes


@dataclass(frozen=True, slots=True)
class VerifiedHandover:
    """What another instance handed over: each secret is the one that the log speaks of. Built only here."""

    giver: bytes
    secrets: tuple[HandedSecret, ...]


def examine_handover(
    state: State, asked: AskedByInstance, *, held: Container[bytes], at: int
) -> Examination[HandoverDecision]:
    """Hold another instance's request against the constitution in force; `held` names what there is to give."""
    steps = Steps(HANDOVER_STEPS, HandoverRefused)
    # 1. Both stand under the same constitution, …
    current = state.constitution.digest()
    same = asked.request.constitution == current
    steps.check("handover.constitution", same, "the asker is not under the constitution in force here")
    # 2. … and the witnessed log took the asker in: an instance that nobody sees gets nothing.
    known = asked.evidence.keys.sign in state.instances
    steps.check("handover.instance", known, "the asker is no KMS instance that the log took in")
    # 3. It runs now what the constitution names, with the keys that it showed.
    steps.check("handover.challenge", asked.challenge_live, "not issued here, used before, or expired")
    expected = Expected(asked.challenge, current, state.constitution.kms)
    appraisal = state.constitution.appraisal
    appraised = steps.include(examine_evidence(asked.evidence, appraisal, expected, at=at, seen=asked.seen))
    # 4. Something that is wanted is here, and lives.
    living = living_secrets(state)
    given = tuple(one for one in asked.request.wants if one.name in held and (one.kind, one.name) in living)
    steps.check("handover.secrets", bool(given), "nothing that is asked for is here", found=f"{len(given)} of them")
    if appraised is None:
        return steps.stopped()
    return steps.examined(lambda: HandoverDecision(current, given, appraised, steps.ids))


def examine_logged_handover(decision: HandoverDecision, entry: bytes, state: State) -> Examination[PublishedHandover]:
    """Log, then act: `state` is the fold of a log that a quorum of witnesses cosigned, up to this entry and beyond."""
    steps = Steps(LOGGED_HANDOVER_STEPS, HandoverRefused)
    # 1. It took effect there, so that everyone who replays the log sees who has what from whom.
    effect = any(record.placed.entry == entry for record in state.handovers)
    steps.check("handover.effect", effect, "the log's rules give the handover no effect")
    # 2. Nothing overtook it.
    unchanged = (
        state.constitution.digest() == decision.constitution
        and decision.evidence.keys.sign in state.instances
        and {(secret.kind, secret.name) for secret in decision.secrets} <= living_secrets(state)
    )
    steps.check("handover.unchanged", unchanged, "the constitution, the asker or a secret changed or ended meanwhile")
    return steps.examined(lambda: PublishedHandover(decision, entry))


def examine_handed(
    state: State, reply: HandoverReply, *, own: bytes, wrap_key: KemPrivateKey
) -> Examination[VerifiedHandover]:
    """Hold what another instance sent against the log, as the receiver has verified it up to the reply's checkpoint.

    `own` is the receiver's signing key, `wrap_key` its X-Wing key.
    """
    steps = Steps(HANDED_STEPS, HandoverRefused)
    # 1. A handover to this instance that took effect: everyone can see it.
    record = next((one for one in state.handovers if one.placed.entry == reply.entry), None)
    logged = record is not None and record.handover.to == own
    steps.check("handed.logged", logged, "the witnessed log holds no such handover to this instance")
    # 2. What came beside it is for this instance and this entry, …
    handed = steps.attempt("handed.seal", lambda: _opened(reply, wrap_key), OpenFailed, MalformedInput, TooLarge)
    if record is None or handed is None:
        return steps.stopped()
    # 3. … is what the entry says, …
    named = tuple(secret.named for secret in handed.secrets) == record.handover.secrets
    steps.check("handed.secrets", named, "is not what the log says was handed over")
    # 4. … and each secret is the one that clients and owners encrypt to.
    wrong = [secret for secret in handed.secrets if not _is_genuine(state, secret)]
    steps.check("handed.keys", not wrong, "is not the secret that the log speaks of", found=f"{len(handed.secrets)}")
    giver = record.giver
    return steps.examined(lambda: VerifiedHandover(giver, handed.secrets))


def _opened(reply: HandoverReply, key: KemPrivateKey) -> HandedOver:
    return parse_handed_over(unwrap(key, reply.wrapped, info=HANDOVER_INFO, aad=entry_digest(reply.entry)).reveal())


def _is_genuine(state: State, secret: HandedSecret) -> bool:
    """Whether the secret is the private half of what the log's entry of that name states."""
    for line in state.lines.values():
        for root in line.custody.roots:
            if secret.kind == "root" and root.placed.digest == secret.name:
                return derives(SecretBytes(secret.secret), root)
        for record in line.epochs:
            if secret.kind == "epoch" and record.placed.digest == secret.name:
                config = key_config.decode(record.epoch.key_config)
                try:
                    return KemPrivateKey.from_bytes(config.kem, SecretBytes(secret.secret)).public == config.public
                except MalformedInput:
                    return False
    return False
