"""What vendors say beside evidence: certificates, revocation lists, collateral, manifests, OCSP answers.

Evidence carries them, stores keep them, bundles take them across air gaps; nothing in one is trusted until it was
examined (docs/formats/evidence.md).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

EndorsementKind = Literal[
    "amd-certificates",  # DER, or PEM of one or more: over all such, the endorsement key's first, then ASK or ASVK, ARK
    "amd-revocations",  # a list of the ARK's, DER or PEM
    "intel-collateral",  # the JSON object of formats.intel_collateral
    "nvidia-manifest",  # a reference integrity manifest (RIM) in XML
    "ocsp-answer",  # DER (RFC 6960)
]


class Endorsement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of them, as its vendor made it."""

    kind: EndorsementKind
    data: Annotated[bytes, msgspec.Meta(min_length=1, max_length=2 * 1024 * 1024)]
