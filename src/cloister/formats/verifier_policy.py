"""What a verifier holds evidence against: an appraisal policy, with reference values for each role that it takes."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from cloister.formats import canonical
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference, named_verifiers
from cloister.formats.jws import encode_base64url


class VerifierPolicy(AppraisalPolicy, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stands where a contract or constitution would: a verifier knows none, so its policy names code and settings."""

    roles: Annotated[tuple[RoleReference, ...], msgspec.Meta(min_length=1, max_length=16)]

    def __post_init__(self) -> None:
        """One role's reference values stand in one place."""
        super().__post_init__()
        if len({reference.role for reference in self.roles}) != len(self.roles):
            raise ValueError("a role has one set of reference values")
        if named_verifiers(self):
            raise ValueError("a verifier judges evidence itself: platform verifier has no place in its policy")

    def digest(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()

    @property
    def id(self) -> str:
        """How tokens name the policy: its digest as a URI (RFC 6920)."""
        return f"ni:///sha-256;{encode_base64url(self.digest()).decode()}"
