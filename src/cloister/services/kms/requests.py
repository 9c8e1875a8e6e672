"""What nodes and other instances ask of a KMS: each request with the evidence in it, read and not yet judged."""

from __future__ import annotations

from cloister.formats.custody_messages import AssetRequest, parse_asset_request
from cloister.formats.evidence import Evidence, parse_evidence
from cloister.formats.handover import HandoverRequest, parse_handover_request
from cloister.formats.identity import IdentityRequest, parse_identity_request
from cloister.formats.release import MAXIMUM_SENT, ReleaseRequest, parse_release_request


def read_release(data: bytes) -> tuple[ReleaseRequest, Evidence]:
    """A node's request for a transport key.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    request = parse_release_request(data)
    return request, _evidence(request.evidence)


def read_handover(data: bytes) -> tuple[HandoverRequest, Evidence]:
    """Another instance's request for secrets; raises as `read_release`."""
    request = parse_handover_request(data)
    return request, _evidence(request.evidence)


def read_assets(data: bytes) -> tuple[AssetRequest, Evidence]:
    """A node's request for assets; raises as `read_release`."""
    request = parse_asset_request(data)
    return request, _evidence(request.evidence)


def read_identity_request(data: bytes) -> tuple[IdentityRequest, Evidence]:
    """A node's request for a certificate; raises as `read_release`."""
    request = parse_identity_request(data)
    return request, _evidence(request.evidence)


def _evidence(data: bytes) -> Evidence:
    return parse_evidence(data, limit=MAXIMUM_SENT)
