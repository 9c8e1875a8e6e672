"""What a node asks of a verifier: a token for one relying party (docs/formats/attestation-result.md).

The demand is signed with the node's key: so the node shows that it has the key which its evidence binds, and nobody who
sees the evidence on its way can have a token made of it for another relying party.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.attestation_result import Text
from cloister.formats.canonical import Digest, Name
from cloister.formats.release import MAXIMUM_SENT

DEMAND_TYPE = "application/vnd.cloister.attestation-demand+cbor"
MAXIMUM_DEMAND = 4096  # bytes, signature included
MAXIMUM_REQUEST = MAXIMUM_SENT + MAXIMUM_DEMAND + 1024  # bytes

RelyingPartyNonce = Annotated[bytes, msgspec.Meta(min_length=8, max_length=64)]


class AttestationDemand(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The payload of a COSE_Sign1 by the node's signing key. The verifier's challenge is in the evidence."""

    version: Literal[1] = 1
    policy: Name  # the verifier's name of the policy to appraise under
    audience: Text  # the relying party's name
    nonce: RelyingPartyNonce
    evidence: Digest  # SHA-256 of the evidence that comes along


class AttestationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a request: the signed demand, and the evidence that it is about."""

    version: Literal[1] = 1
    demand: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_DEMAND)]
    evidence: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_SENT)]


def parse_attestation_request(data: bytes) -> AttestationRequest:
    """Parse the body of a request.

    Raises:
        TooLarge, MalformedInput: not such a request.
    """
    return canonical.decode(data, AttestationRequest, limit=MAXIMUM_REQUEST, items=64)


def parse_attestation_demand(data: bytes) -> AttestationDemand:
    """Parse the payload of a signed demand.

    Raises:
        TooLarge, MalformedInput: not a demand.
    """
    return canonical.decode(data, AttestationDemand, limit=MAXIMUM_DEMAND)
