"""Examines what a node asks of a verifier before its evidence is judged: who asks, and whether it is new."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cloister.crypto.cose import open1, sign1
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats import canonical
from cloister.formats.attestation_request import (
    DEMAND_TYPE,
    AttestationDemand,
    AttestationRequest,
    parse_attestation_demand,
)
from cloister.formats.evidence import Evidence, parse_evidence
from cloister.formats.release import MAXIMUM_SENT

ATTESTATION_STEPS: Final = (
    "attestation.evidence",
    "attestation.possession",
    "attestation.digest",
    "attestation.challenge",
)


class AttestationRefused(Refused):
    """A verifier does not take a request up; nothing was said of the evidence."""


@dataclass(frozen=True, slots=True)
class VerifiedDemand:
    """A demand by the holder of the key in the evidence, which answers a live challenge. Built only here."""

    demand: AttestationDemand
    evidence: Evidence  # parsed, not judged


def sign_attestation_request(
    key: SigningKey, evidence: Evidence, *, policy: str, audience: str, nonce: bytes
) -> AttestationRequest:
    """A node's request, as it is sent.

    Args:
        key: the node's own, which `evidence` binds.
        evidence: it answers the verifier's challenge.
        policy: the verifier's name of it.
        audience: the relying party's name.
        nonce: the relying party's challenge, 8 to 64 bytes.
    """
    data = canonical.encode(evidence)
    demand = AttestationDemand(policy=policy, audience=audience, nonce=nonce, evidence=hashlib.sha256(data).digest())
    return AttestationRequest(demand=sign1(key, canonical.encode(demand), content_type=DEMAND_TYPE), evidence=data)


def examine_attestation_request(
    request: AttestationRequest, use: Callable[[bytes], bool]
) -> Examination[VerifiedDemand]:
    """Examine a node's request; `use` says whether a challenge was open, and closes it, whatever becomes of this."""
    steps = Steps(ATTESTATION_STEPS, AttestationRefused)
    # 1. Evidence, whose challenge is used up from here on.
    evidence = steps.attempt(
        "attestation.evidence",
        lambda: parse_evidence(request.evidence, limit=MAXIMUM_SENT),
        MalformedInput,
        TooLarge,
        found=f"{len(request.evidence)} bytes",
    )
    if evidence is None:
        return steps.stopped()
    live = use(evidence.binding.challenge)
    # 2. Asked for by the node itself: a copy of its evidence is not enough.
    demand = steps.attempt(
        "attestation.possession",
        lambda: parse_attestation_demand(open1(request.demand, public=evidence.keys.sign, content_type=DEMAND_TYPE)),
        BadSignature,
        MalformedInput,
        TooLarge,
        found=f"signed by {evidence.keys.sign.hex()[:16]}…",
    )
    # 3. About this evidence: a demand of another time is not put before newer evidence.
    about = demand is not None and hmac.compare_digest(demand.evidence, hashlib.sha256(request.evidence).digest())
    if demand is not None:
        steps.check("attestation.digest", about, "the demand is about other evidence", found="about this evidence")
    # 4. A challenge of this verifier's, answered for the first time and within its life.
    steps.check("attestation.challenge", live, "was not issued here, was answered before, or is too old", found="live")
    if demand is None:
        return steps.stopped()
    return steps.examined(lambda: VerifiedDemand(demand, evidence))
