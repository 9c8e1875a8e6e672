"""Examines a key bundle against a trust policy: every step a client performs before anything leaves its machine.

The specification is docs/formats/key-bundle.md, the ids are rows of docs/formats/checks.md. Nothing here asks anyone
anything: what is needed is in the bundle, the policy, the client's memory, and the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.attest.evidence import EVIDENCE_STEPS, AppraisedEvidence, Expected, examine_evidence
from cloister.attest.seen import SEEN_NOTHING
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.appraisal_policy import named_verifiers
from cloister.formats.constitution import Constitution
from cloister.formats.contract import Contract
from cloister.formats.contract_verifier import title_of
from cloister.formats.evidence import parse_evidence
from cloister.formats.key_bundle import KeyBundle
from cloister.formats.key_config import KeyConfig
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.checkpoints import SIGNED_STEPS, VerifiedCheckpoint, check_checkpoint
from cloister.trust.governed import CONSTITUTION_STEPS, CONTRACT_STEPS, check_constitutions, check_contracts
from cloister.trust.history import HISTORY_STEPS, INCLUSION_STEPS, check_freshness, check_inclusions, check_memory
from cloister.trust.keys import KEY_STEPS, InForce, TrustedKeys, check_keys
from cloister.trust.memory import Memory

BUNDLE_STEPS = (
    *CONSTITUTION_STEPS,
    "trust.unsafe",
    "trust.verifiers",
    *SIGNED_STEPS,
    *HISTORY_STEPS,
    *INCLUSION_STEPS,
    *CONTRACT_STEPS,
    *EVIDENCE_STEPS,
    *KEY_STEPS,
)


class BundleRefused(Refused):
    """A key bundle did not meet the trust policy: nothing was encrypted, nothing was sent."""


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """A bundle that met the trust policy. A client encrypts to `keys.active` and to nothing else. Built only here."""

    bundle: KeyBundle
    constitution: Constitution
    contract: Contract
    checkpoint: VerifiedCheckpoint
    kms: AppraisedEvidence
    keys: TrustedKeys
    memory: Memory  # what to remember now
    good_until: int  # the trust policy takes nothing made later on the word of this checkpoint

    @property
    def key_config(self) -> KeyConfig:
        """The key configuration to encapsulate to."""
        return self.keys.active.key_config


def examine_bundle(bundle: KeyBundle, policy: TrustPolicy, memory: Memory, *, at: int) -> Examination[VerifiedBundle]:
    """Examine `bundle` at the time `at` (seconds since 1970)."""
    steps = Steps(BUNDLE_STEPS, BundleRefused)
    # 1. The KMS: its constitution leads by its own rules from the genesis that the policy pins.
    constitutions = check_constitutions(steps, bundle, policy, memory)
    if constitutions is None:
        return steps.stopped()
    constitution = constitutions[-1].current
    # 2. The log: its checkpoint is signed, witnessed, fresh, and continues what this client saw before.
    checkpoint = check_checkpoint(
        steps,
        bundle.checkpoint,
        log=constitution.log,
        witnesses=constitution.witnesses,
        quorum=constitution.quorum,
    )
    if checkpoint is None:
        return steps.stopped()
    check_freshness(steps, checkpoint, policy, at=at)
    check_memory(steps, bundle, checkpoint, memory)
    # 3. Every entry shown is in that log.
    check_inclusions(steps, bundle, checkpoint)
    # 4. The contract: by its own rules from the one that the policy pins, with this KMS, in force now.
    contract = check_contracts(steps, bundle, constitutions, policy, memory, at=at)
    if contract is None:
        return steps.stopped()
    # 5. What was accepted by name, and no other exception.
    _check_unsafe(steps, constitution, contract, policy)
    _check_verifiers(steps, contract, policy)
    # 6. The KMS runs code and settings that its constitution names, under evidence no older than the checkpoint.
    kms = _check_evidence(steps, bundle, constitution, at=checkpoint.cosigned_at)
    if kms is None:
        return steps.stopped()
    # 7. Its keys: the state head, the epochs, the gateways that it certified.
    force = InForce(kms.keys.sign, constitution, contract, checkpoint.cosigned_at)
    keys = check_keys(steps, bundle, force, policy, memory, at=at)
    if keys is None:
        return steps.stopped()
    remembered = Memory(
        genesis=policy.constitution,
        size=checkpoint.size,
        root=checkpoint.root,
        epoch=keys.active.number,
        cosigned_at=checkpoint.cosigned_at,
        constitution=constitution.digest(),
        contract=contract.digest(),
    )
    until = checkpoint.cosigned_at + policy.maximum_state_age_seconds + policy.maximum_clock_skew_seconds
    return steps.examined(
        lambda: VerifiedBundle(bundle, constitution, contract, checkpoint, kms, keys, remembered, until)
    )


def _check_unsafe(steps: Steps, constitution: Constitution, contract: Contract, policy: TrustPolicy) -> None:
    in_force: Sequence[str] = sorted({*constitution.appraisal.unsafe, *contract.appraisal.unsafe})
    extra = [flag for flag in in_force if flag not in policy.unsafe]
    shortfall = f"{', '.join(extra)} stands in the constitution or contract; the trust policy does not accept it"
    steps.check("trust.unsafe", not extra, shortfall, found=", ".join(in_force) or "no exceptions")


def _check_verifiers(steps: Steps, contract: Contract, policy: TrustPolicy) -> None:
    """Whose word the KMS takes in place of raw evidence: that trust is the client's to give, name by name."""
    named = named_verifiers(contract.appraisal)
    extra = [one.name for one in named if one.name not in policy.verifiers]
    shortfall = f"the contract takes the word of {', '.join(extra)}; the trust policy does not accept it"
    found = "; ".join(map(title_of, named)) or "nobody's word counts in place of evidence"
    steps.check("trust.verifiers", not extra, shortfall, found=found)


def _check_evidence(
    steps: Steps, bundle: KeyBundle, constitution: Constitution, *, at: int
) -> AppraisedEvidence | None:
    evidence = steps.attempt("evidence.signature", lambda: parse_evidence(bundle.evidence), MalformedInput, TooLarge)
    if evidence is None:
        return None
    challenge = hashlib.sha256(bundle.checkpoint).digest()
    expected = Expected(challenge, constitution.digest(), constitution.kms)
    return steps.include(examine_evidence(evidence, constitution.appraisal, expected, at=at, seen=SEEN_NOTHING))
