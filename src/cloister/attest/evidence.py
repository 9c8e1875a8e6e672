"""Holds a node's evidence against an appraisal policy and the reference values for its role.

The specification is docs/formats/evidence.md; the steps' ids are rows of docs/formats/checks.md. The same function
serves a client (evidence of the KMS) and a KMS (evidence of a node): only what is expected differs.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from cloister.attest.endorsed import Endorsed, sort_endorsements
from cloister.attest.foreign_token import TokenTerms
from cloister.attest.gpus import check_gpus
from cloister.attest.hardware import HARDWARE_STEPS, Carried, HardwarePlatform, HardwareTerms, Proven, prove
from cloister.attest.named_token import examine_named_token
from cloister.attest.nvidia.device import AuthenticDevice, DeviceEvidence
from cloister.attest.roots import roots_of
from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements
from cloister.attest.software import authenticate_software
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.appraisal_policy import (
    AppraisalPolicy,
    NitroPlatform,
    Platform,
    RoleReference,
    SoftwarePlatform,
    VerifierPlatform,
    takes,
)
from cloister.formats.evidence import Evidence, NodeKeys, gpu_digest, gpu_nonce
from cloister.formats.named_token import BY_VERIFIER

SOFTWARE_WORDS = "software TEE: protects nothing from this machine's owner"

_NATURE: Final = MappingProxyType({"software": SOFTWARE_WORDS, BY_VERIFIER: "a verifier's word"})

# What all evidence is held against. The steps of hardware come in before `evidence.signature`, which says that it
# signed; those of GPUs before `evidence.gpu`.
EVIDENCE_STEPS = (
    "evidence.platform",
    "evidence.software-tee",
    "evidence.endorsements",
    "evidence.signature",
    "evidence.binding",
    "evidence.challenge",
    "evidence.role",
    "evidence.subject",
    "evidence.keys",
    "evidence.gpu",
    "evidence.settings-digest",
    "evidence.settings",
    "evidence.unsafe",
    "evidence.platform-measurement",
    "evidence.workload",
)


class EvidenceRejected(Refused):
    """Evidence did not meet the appraisal policy."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the relying party expects the evidence to answer and to be."""

    challenge: bytes  # 32 bytes
    subject: bytes  # 32 bytes: the contract's digest, or the constitution's for a KMS
    reference: RoleReference


@dataclass(frozen=True, slots=True)
class AppraisedEvidence:
    """Evidence that is authentic and meets its appraisal policy. Built only here."""

    platform: str
    platform_measurement: bytes  # 48 bytes
    workload: bytes  # 48 bytes
    keys: NodeKeys
    unsafe: tuple[str, ...]
    values: dict[str, str | int | bool]  # the security settings bound
    gpus: tuple[AuthenticDevice, ...]
    seen: SeenEndorsements  # what came along, for the relying party to merge into its memory
    claims: Mapping[str, Any]  # what the platform signed, by the names that expressions use


def examine_evidence(
    evidence: Evidence, policy: AppraisalPolicy, expected: Expected, *, at: int, seen: SeenEndorsements
) -> Examination[AppraisedEvidence]:
    """Examine `evidence` in order; no I/O, no clock.

    Args:
        evidence: with all its endorsements.
        policy: what it must meet.
        expected: what it must answer, and be.
        at: when everything has to be in date, seconds since 1970.
        seen: what the relying party met before (`attest.seen.SEEN_NOTHING` where it keeps no memory).
    """
    steps = Steps(EVIDENCE_STEPS, EvidenceRejected)
    # 1. A platform that the policy takes. An empty list takes none.
    platform = takes(policy, evidence.platform)
    shortfall = f"platform {evidence.platform} is not accepted"
    steps.check("evidence.platform", platform is not None, shortfall, found=evidence.platform)
    # 2. The software TEE only where the policy says so in so many words.
    allowed = evidence.platform != "software" or "UnsafeAllowSoftwareTee" in policy.unsafe
    found = _NATURE.get(evidence.platform, "hardware")
    steps.check("evidence.software-tee", allowed, f"{SOFTWARE_WORDS}; needs UnsafeAllowSoftwareTee", found=found)
    if platform is None:
        return steps.stopped()
    # 3. and 4., with the platform's own: what came along is of use, and the platform signed the report.
    terms = HardwareTerms(roots_of(policy), at, seen, _carried(evidence), expected.reference.workloads)
    if isinstance(platform, VerifierPlatform):
        proven, gpus = _believe(steps, evidence, platform, policy, terms)
    else:
        proven, gpus = _prove(steps, evidence, platform, terms)
    if proven is None:
        return steps.stopped()
    _check_binding(steps, evidence, proven, expected)
    _check_appraisal(steps, evidence, proven, (policy, platform), expected.reference)
    return steps.examined(
        lambda: AppraisedEvidence(
            evidence.platform,
            proven.platform_measurement,
            proven.workload,
            evidence.keys,
            tuple(evidence.settings.unsafe),
            dict(evidence.settings.values),
            gpus,
            proven.seen,
            proven.claims,
        )
    )


def _carried(evidence: Evidence) -> Carried:
    """What hardware has to have signed, CPU and GPUs, if what travels beside it is true."""
    binding = evidence.binding
    nonce = gpu_nonce(binding.challenge, binding.keys)
    return Carried(binding.carried_on(evidence.platform), binding.challenge, nonce)


def _prove(
    steps: Steps, evidence: Evidence, platform: SoftwarePlatform | HardwarePlatform, terms: HardwareTerms
) -> tuple[Proven | None, tuple[AuthenticDevice, ...]]:
    """Steps 3 and 4, and those of the platform and its GPUs."""
    endorsed = _sorted(steps, evidence)
    if endorsed is None:
        return None, ()
    # 4. Authentic: signed by a key that the policy's roots vouch for.
    if isinstance(platform, SoftwarePlatform):
        software = steps.attempt(
            "evidence.signature", lambda: _software(evidence, platform), BadSignature, MalformedInput, found="authentic"
        )
        return software, _no_gpus(steps, evidence)
    own = Steps(HARDWARE_STEPS[type(platform)], EvidenceRejected)
    proven = prove(own, evidence.report, platform, endorsed, terms)
    steps.include(own.stopped(), before="evidence.signature")
    if proven is None:
        return None, ()
    steps.check("evidence.signature", True, "", found="authentic")
    if isinstance(platform, NitroPlatform):
        return proven, _no_gpus(steps, evidence)
    devices = [DeviceEvidence(one.report, one.chain) for one in evidence.gpu]
    return proven, check_gpus(steps, devices, platform.gpu, endorsed, terms)


def _sorted(steps: Steps, evidence: Evidence) -> Endorsed | None:
    """Step 3: endorsements of the kinds that the platform needs, and no others."""
    return steps.attempt(
        "evidence.endorsements",
        lambda: sort_endorsements(evidence),
        MalformedInput,
        TooLarge,
        found=f"{len(evidence.endorsements)} came along",
    )


def _believe(
    steps: Steps, evidence: Evidence, platform: VerifierPlatform, policy: AppraisalPolicy, terms: HardwareTerms
) -> tuple[Proven | None, tuple[AuthenticDevice, ...]]:
    """Steps 3 and 4 of evidence by a verifier's word, with those of its token."""
    if _sorted(steps, evidence) is None:
        return None, ()
    asked = TokenTerms(evidence.binding, evidence.keys, policy.unsafe, terms.workloads, terms.at)
    proven = steps.include(examine_named_token(evidence.report, platform, asked), before="evidence.signature")
    if proven is None:
        return None, ()
    steps.check("evidence.signature", True, "", found="a verifier vouches for it")
    return proven, _no_gpus(steps, evidence)


def _software(evidence: Evidence, platform: SoftwarePlatform) -> Proven:
    report = authenticate_software(evidence.report, platform_keys=platform.keys)
    return Proven(report.platform_measurement, report.workload, report.report_data, SEEN_NOTHING, {})


def _no_gpus(steps: Steps, evidence: Evidence) -> tuple[AuthenticDevice, ...]:
    shortfall = f"{len(evidence.gpu)} GPUs came along; nothing ties one to a node of {evidence.platform}"
    steps.check("evidence.gpu", not evidence.gpu, shortfall)
    return ()


def _check_binding(steps: Steps, evidence: Evidence, proven: Proven, expected: Expected) -> None:
    """Steps 5 to 11: the field binds what travels beside the report, and that is what was asked for."""
    binding = evidence.binding
    wanted_field = binding.carried_on(evidence.platform)
    # 5. The platform signed the hash of exactly this preimage, whole.
    bound = hmac.compare_digest(wanted_field, proven.bound)
    steps.check("evidence.binding", bound, "the report binds something else", found=f"{len(wanted_field)} bytes bound")
    # 6. Freshness: a replayed report proves nothing.
    fresh = hmac.compare_digest(binding.challenge, expected.challenge)
    steps.check("evidence.challenge", fresh, "answers another challenge", found="answers this challenge")
    # 7. One package plays all roles: a gateway's evidence must not open a KMS's doors.
    wanted = expected.reference.role
    role = binding.role == wanted == evidence.settings.role
    steps.check("evidence.role", role, f"is of a {binding.role}, not of a {wanted}", found=wanted)
    # 8. For this contract (a KMS: under this constitution) and no other.
    subject = binding.subject == expected.subject
    steps.check("evidence.subject", subject, f"is bound to {binding.subject.hex()[:16]}…", found="bound to it")
    # 9. The keys that travel are the keys bound.
    keys = binding.keys == evidence.keys.thumbprint()
    steps.check("evidence.keys", keys, "the keys beside the report are not those bound", found="keys bound")
    # 10. So is the GPU's evidence, or its absence.
    gpu = binding.gpu == gpu_digest(evidence.gpu)
    steps.check("evidence.gpu", gpu, "the GPU evidence is not that bound", found=f"{len(evidence.gpu)} GPUs")
    # 11. And the settings, so that each can be read as a claim.
    settings = binding.settings == evidence.settings.digest()
    steps.check("evidence.settings-digest", settings, "the settings are not those bound", found="settings bound")


def _check_appraisal(
    steps: Steps,
    evidence: Evidence,
    proven: Proven,
    held: tuple[AppraisalPolicy, Platform],
    reference: RoleReference,
) -> None:
    """Steps 12 to 15: what was bound meets the reference values."""
    policy, platform = held
    # 12. Settings that the signers named: same code, other settings, is another node.
    settings = evidence.binding.settings
    known = settings in reference.settings
    steps.check("evidence.settings", known, f"settings {settings.hex()[:16]}… are not named", found="settings named")
    # 13. The node claims exactly the Unsafe flags that the policy accepts by name: none hidden, none added.
    claimed, accepted = sorted(set(evidence.settings.unsafe)), sorted(set(policy.unsafe))
    flags = ", ".join(claimed) or "no exceptions"
    shortfall = f"claims {flags}; in force: {', '.join(accepted) or 'no exceptions'}"
    steps.check("evidence.unsafe", claimed == accepted, shortfall, found=flags)
    # 14. Two measurements, always: the platform's; of hardware its own steps have held it against the policy …
    measured = proven.platform_measurement.hex()[:16]
    named = not isinstance(platform, SoftwarePlatform) or proven.platform_measurement in platform.measurements
    steps.check("evidence.platform-measurement", named, f"{measured}… is not in the policy", found=f"{measured}…")
    # 15. … and the workload's, over everything that runs.
    workload = proven.workload in reference.workloads
    measured = f"{proven.workload.hex()[:16]}…" if proven.workload else "what was measured there"
    steps.check("evidence.workload", workload, f"{measured} is not named", found=measured)
