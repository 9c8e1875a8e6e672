"""Holds a node's evidence against an appraisal policy and the reference values for its role.

The specification is docs/formats/evidence.md; the steps' ids are rows of docs/formats/checks.md. The same function
serves a client (evidence of the KMS) and a KMS (evidence of a node): only what is expected differs.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cloister.attest.software import AuthenticReport, authenticate_software
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused
from cloister.examination import Examination, Steps
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference
from cloister.formats.evidence import Evidence, NodeKeys

SOFTWARE_WORDS = "software TEE: protects nothing from this machine's owner"

EVIDENCE_STEPS = (
    "evidence.platform",
    "evidence.software-tee",
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
    workload: bytes  # 48 bytes
    keys: NodeKeys
    unsafe: tuple[str, ...]
    values: dict[str, str | int | bool]  # the security settings bound


def examine_evidence(evidence: Evidence, policy: AppraisalPolicy, expected: Expected) -> Examination[AppraisedEvidence]:
    """Examine `evidence` in order; no I/O, no clock."""
    steps = Steps(EVIDENCE_STEPS, EvidenceRejected)
    # 1. A platform that the policy takes. An empty list takes none.
    accepted = evidence.platform in policy.platforms
    steps.check("evidence.platform", accepted, f"platform {evidence.platform} is not accepted", found=evidence.platform)
    # 2. The software TEE only where the policy says so in so many words.
    allowed = evidence.platform != "software" or "UnsafeAllowSoftwareTee" in policy.unsafe
    found = SOFTWARE_WORDS if evidence.platform == "software" else "hardware"
    steps.check("evidence.software-tee", allowed, f"{SOFTWARE_WORDS}; needs UnsafeAllowSoftwareTee", found=found)
    # 3. Authentic: the report's signature, by a key that the policy's roots vouch for.
    report = steps.attempt(
        "evidence.signature", lambda: _authenticate(evidence, policy), BadSignature, MalformedInput, found="authentic"
    )
    if report is None:
        return steps.stopped()
    _check_binding(steps, evidence, report, expected)
    _check_appraisal(steps, evidence, report, policy, expected.reference)
    return steps.examined(
        lambda: AppraisedEvidence(
            evidence.platform,
            report.workload,
            evidence.keys,
            tuple(evidence.settings.unsafe),
            dict(evidence.settings.values),
        )
    )


def _authenticate(evidence: Evidence, policy: AppraisalPolicy) -> AuthenticReport:
    if evidence.platform != "software":
        raise MalformedInput(f"no verifier for platform {evidence.platform}")
    if evidence.endorsements:
        raise MalformedInput("a software TEE has no endorsements")
    return authenticate_software(evidence.report, platform_keys=policy.software_keys)


def _check_binding(steps: Steps, evidence: Evidence, report: AuthenticReport, expected: Expected) -> None:
    """Steps 4 to 10: the 64 bytes bind what travels beside the report, and that is what was asked for."""
    binding = evidence.binding
    # 4. The hardware signed the hash of exactly this preimage.
    bound = hmac.compare_digest(binding.report_data(), report.report_data)
    steps.check("evidence.binding", bound, "the report binds something else", found="64 bytes bound")
    # 5. Freshness: a replayed report proves nothing.
    fresh = hmac.compare_digest(binding.challenge, expected.challenge)
    steps.check("evidence.challenge", fresh, "answers another challenge", found="answers this challenge")
    # 6. One package plays all roles: a gateway's evidence must not open a KMS's doors.
    wanted = expected.reference.role
    role = binding.role == wanted == evidence.settings.role
    steps.check("evidence.role", role, f"is of a {binding.role}, not of a {wanted}", found=wanted)
    # 7. For this contract (a KMS: under this constitution) and no other.
    subject = binding.subject == expected.subject
    steps.check("evidence.subject", subject, f"is bound to {binding.subject.hex()[:16]}…", found="bound to it")
    # 8. The keys that travel are the keys bound.
    keys = binding.keys == evidence.keys.thumbprint()
    steps.check("evidence.keys", keys, "the keys beside the report are not those bound", found="keys bound")
    # 9. So is the GPU's evidence, or its absence.
    gpu = binding.gpu == evidence.gpu_digest()
    steps.check("evidence.gpu", gpu, "the GPU evidence is not that bound", found=f"{len(evidence.gpu)} GPUs")
    # 10. And the settings, so that each can be read as a claim.
    settings = binding.settings == evidence.settings.digest()
    steps.check("evidence.settings-digest", settings, "the settings are not those bound", found="settings bound")


def _check_appraisal(
    steps: Steps, evidence: Evidence, report: AuthenticReport, policy: AppraisalPolicy, reference: RoleReference
) -> None:
    """Steps 11 to 14: what was bound meets the reference values."""
    # 11. Settings that the signers named: same code, other settings, is another node.
    settings = evidence.binding.settings
    known = settings in reference.settings
    steps.check("evidence.settings", known, f"settings {settings.hex()[:16]}… are not named", found="settings named")
    # 12. The node claims exactly the Unsafe flags that the policy accepts by name: none hidden, none added.
    claimed, accepted = sorted(set(evidence.settings.unsafe)), sorted(set(policy.unsafe))
    flags = ", ".join(claimed) or "no exceptions"
    shortfall = f"claims {flags}; in force: {', '.join(accepted) or 'no exceptions'}"
    steps.check("evidence.unsafe", claimed == accepted, shortfall, found=flags)
    # 13. Two measurements, always: the platform's …
    platform = report.platform_measurement in policy.platform_measurements
    measured = report.platform_measurement.hex()[:16]
    steps.check("evidence.platform-measurement", platform, f"{measured}… is not in the policy", found=f"{measured}…")
    # 14. … and the workload's, over everything that runs.
    workload = report.workload in reference.workloads
    measured = report.workload.hex()[:16]
    steps.check("evidence.workload", workload, f"{measured}… is not named", found=f"{measured}…")
