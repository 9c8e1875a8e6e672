"""Verifiers that an appraisal policy names: their attestation results count in place of raw evidence.

Whose keys, for whom, how old at most, over which code: everything is pinned here, and so in the digest of the contract.
Nobody asks a verifier's service for its keys; a verifier that turns to new keys is a successor of the contract.
The specification is docs/formats/attestation-result.md, "In place of evidence".
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from cloister.formats.attestation_result import PolicyId
from cloister.formats.canonical import Digest, Measurement, Name
from cloister.formats.policy_expression import Expressions, require_expressions
from cloister.formats.snp_policy import SnpImage

GOOGLE_ISSUER: Final = "https://confidentialcomputing.googleapis.com"

Issuer = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^https?://[!-~]+[^/]\Z")]  # as `iss` has it
Audience = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=r"^[!-~]+\Z")]
Age = Annotated[int, msgspec.Meta(ge=1, le=3600)]  # seconds since `iat`
P384Key = Annotated[bytes, msgspec.Meta(min_length=96, max_length=96)]  # x and y
RsaKey = Annotated[bytes, msgspec.Meta(min_length=256, max_length=600)]  # SubjectPublicKeyInfo in DER


class _Verifier(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """What is said of every kind."""

    name: Name  # by which evidence and trust policies name it
    maximum_age_seconds: Age
    expressions: Expressions  # that have to be true of the token's claims, besides; docs/formats/expressions.md

    def __post_init__(self) -> None:
        """Refuse what is no expression.

        Raises:
            ValueError: which, and why.
        """
        require_expressions(self.expressions)


class EarVerifier(_Verifier, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="ear"):
    """A verifier of Cloister's, by its own key: it judges raw evidence by policies whose ids are named."""

    issuer: Issuer
    audience: Audience  # the name under which nodes ask for tokens for this contract
    keys: Annotated[tuple[P384Key, ...], msgspec.Meta(max_length=8)]
    policies: Annotated[tuple[PolicyId, ...], msgspec.Meta(max_length=64)]


class AzureVerifier(_Verifier, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="azure-attestation"):
    """An instance of Microsoft Azure Attestation; its tokens have no audience: what they carry is bound to one."""

    issuer: Issuer
    keys: Annotated[tuple[RsaKey, ...], msgspec.Meta(max_length=8)]
    images: Annotated[tuple[SnpImage, ...], msgspec.Meta(max_length=64)]  # SEV-SNP guests
    domains: Annotated[tuple[Measurement, ...], msgspec.Meta(max_length=64)]  # TDX: everything but the workload


class ContainerImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A container's image, and the workload in it."""

    digest: Digest  # of its manifest, as registries name it
    workload: Measurement


class ConfidentialSpaceVerifier(
    _Verifier, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="confidential-space"
):
    """Google Cloud Attestation for Confidential Space: OIDC tokens by pinned keys, PKI tokens by a pinned root."""

    audience: Audience
    keys: Annotated[tuple[RsaKey, ...], msgspec.Meta(max_length=8)]
    roots: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=8)]  # SHA-256 of root certificates' public keys
    images: Annotated[tuple[ContainerImage, ...], msgspec.Meta(max_length=64)]
    minimum_version: Annotated[int, msgspec.Meta(ge=0, le=10**9)]  # of the Confidential Space image: `swversion`

    @property
    def issuer(self) -> str:
        """Google's one name."""
        return GOOGLE_ISSUER


Verifier = EarVerifier | AzureVerifier | ConfidentialSpaceVerifier


def title_of(verifier: Verifier) -> str:
    """A verifier as people are told of it: `eu (azure-attestation of https://…)`."""
    return f"{verifier.name} ({verifier.__struct_config__.tag} of {verifier.issuer})"
