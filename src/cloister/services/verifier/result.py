"""What a verifier says of a node that it appraised, claim by claim (docs/formats/attestation-result.md)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from cloister.attest.evidence import AppraisedEvidence
from cloister.attest.request import VerifiedDemand
from cloister.attest.trustworthiness import GPU, passed_vector
from cloister.formats.attestation_result import (
    CPU,
    PROFILE,
    UNSAFE_FLAGS,
    AttestationResult,
    NodeClaims,
    Submodule,
    VerifierId,
    confirmation,
)
from cloister.formats.evidence import Evidence
from cloister.formats.jws import encode_base64url
from cloister.formats.trustworthiness import worst

DEVELOPER: Final = "The Cloister maintainers"


@dataclass(frozen=True, slots=True)
class Issue:
    """When and under which name a token is made, and how long it lives."""

    issuer: str
    at: int  # seconds since 1970
    seconds: int


def attestation_result(
    asked: VerifiedDemand, appraised: AppraisedEvidence, policy: str, issue: Issue
) -> AttestationResult:
    """The claims of a token on the node, appraised under the policy with the id `policy`."""
    parts = {CPU: _part(appraised.platform, appraised.unsafe, policy)}
    parts |= {label: _part(GPU, appraised.unsafe, policy) for label in _labels(appraised)}
    return AttestationResult(
        eat_profile=PROFILE,
        iss=issue.issuer,
        aud=asked.demand.audience,
        iat=issue.at,
        exp=issue.at + issue.seconds,
        eat_nonce=encode_base64url(asked.demand.nonce).decode(),
        cnf=confirmation(appraised.keys.sign),
        ear_status=worst(part.ear_status for part in parts.values()),
        ear_verifier_id=VerifierId(developer=DEVELOPER, build=f"cloister {metadata.version('cloister')}"),
        submods=parts,
        cloister=_node(asked.evidence, appraised),
    )


def _labels(appraised: AppraisedEvidence) -> list[str]:
    """gpu0, gpu1, …, switch0, …: each kind counted by itself, in the evidence's order."""
    counts: Counter[str] = Counter()
    labels = []
    for device in appraised.gpus:
        labels.append(f"{device.kind}{counts[device.kind]}")
        counts[device.kind] += 1
    return labels


def _part(attester: str, unsafe: Iterable[str], policy: str) -> Submodule:
    vector = passed_vector(attester, unsafe)
    return Submodule(ear_status=vector.status(), ear_trustworthiness_vector=vector, ear_appraisal_policy_ids=(policy,))


def _node(evidence: Evidence, appraised: AppraisedEvidence) -> NodeClaims:
    """The binding's fields are true: the platform signed their hash, and the examination held each of them."""
    return NodeClaims(
        platform=appraised.platform,
        platform_measurement=appraised.platform_measurement.hex(),
        workload=appraised.workload.hex(),
        role=evidence.binding.role,
        subject=evidence.binding.subject.hex(),
        settings=evidence.binding.settings.hex(),
        keys=evidence.binding.keys.hex(),
        wrap=hashlib.sha256(appraised.keys.wrap).hexdigest(),
        unsafe={name: name in appraised.unsafe for name in sorted(UNSAFE_FLAGS)},
    )
