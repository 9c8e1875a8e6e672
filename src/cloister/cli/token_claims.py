"""What a token says, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from cloister.formats.attestation_result import AttestationResult, Submodule


def told_claims(claims: AttestationResult) -> Mapping[str, str]:
    """The claims in words, by what they are about."""
    node = claims.cloister
    until = datetime.fromtimestamp(claims.exp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    verifier = claims.ear_verifier_id
    return {
        "issued by": f"{claims.iss} ({verifier.build}, {verifier.developer})",
        "for": f"{claims.aud}, until {until}",
        "key": claims.key.hex(),
        "encrypt to": f"X-Wing, sha256 {node.wrap}",
        "role": node.role,
        "platform": f"{node.platform}, measured {node.platform_measurement}",
        "workload": node.workload,
        "subject": node.subject,
        "settings": node.settings,
        "exceptions": ", ".join(node.flags) or "none",
        **{label: _part(part) for label, part in sorted(claims.submods.items())},
    }


def _part(part: Submodule) -> str:
    vector = part.ear_trustworthiness_vector
    tiers = {name: tier for name, tier in vector.tiers().items() if tier != "none"}
    claims = ", ".join(f"{name.replace('_', '-')} {getattr(vector, name)} {tier}" for name, tier in tiers.items())
    return f"{part.ear_status}: {claims}; under {', '.join(part.ear_appraisal_policy_ids)}"


def lines(told: Mapping[str, str]) -> list[str]:
    """One line each."""
    width = max(map(len, told))
    return [f"{name:<{width}}  {value}" for name, value in told.items()]
