"""Attestation results: what a verifier says of a node, as a signed token (docs/formats/attestation-result.md).

EAR (draft-ietf-rats-ear-04) on EAT (RFC 9711) as a JWT (RFC 7519), one submodule for the CPU and one for each GPU. The
parser takes what our verifiers write and nothing else: no member more, none less, each once.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.canonical import Seconds
from cloister.formats.evidence import Role, Unsafe
from cloister.formats.jws import decode_base64url, encode_base64url
from cloister.formats.strict_json import parse_strict_json
from cloister.formats.trustworthiness import Tier, TrustworthinessVector, worst

PROFILE: Final = "tag:ietf.org,2026:rats/ear#04"
TOKEN_TYPE: Final = "eat+jwt"  # noqa: S105 - the `typ` of the header (RFC 9782 section 3)
MEDIA_TYPE: Final = f'application/eat+jwt; eat_profile="{PROFILE}"'
MAXIMUM_CLAIMS: Final = 32 * 1024  # bytes of the payload's JSON
MAXIMUM_LIFETIME: Final = 300  # seconds from `iat` to `exp`
CPU: Final = "cpu"  # the submodule of the processor; those of GPUs are gpu0, gpu1, …
UNSAFE_FLAGS: Final = frozenset(name for names in get_args(Unsafe) for name in get_args(names))

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=r"^[ -~]+\Z")]
PolicyId = Annotated[str, msgspec.Meta(max_length=57, pattern=r"^ni:///sha-256;[A-Za-z0-9_-]{43}\Z")]  # RFC 6920
Hex32 = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[0-9a-f]{64}\Z")]
Hex48 = Annotated[str, msgspec.Meta(max_length=96, pattern=r"^[0-9a-f]{96}\Z")]
Base64Url = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[A-Za-z0-9_-]+\Z")]


class _Members(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An object in the token: every member is required."""


class VerifierId(_Members, frozen=True, kw_only=True):
    """Which software judged (AR4SI section 3.3)."""

    developer: Text
    build: Text


class SigningJwk(_Members, frozen=True, kw_only=True):
    """An Ed25519 public key (RFC 8037 section 2)."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    x: Base64Url

    def __post_init__(self) -> None:
        """Hold the size."""
        if len(decode_base64url(self.x.encode())) != 32:
            raise ValueError("an Ed25519 key has 32 bytes")


class Confirmation(_Members, frozen=True, kw_only=True):
    """Whose token it is: the key that its bearer has to prove possession of (RFC 7800 section 3.2)."""

    jwk: SigningJwk


class Submodule(_Members, frozen=True, kw_only=True):
    """The appraisal of one attester (EAR section 3.1)."""

    ear_status: Tier
    ear_trustworthiness_vector: TrustworthinessVector
    ear_appraisal_policy_ids: Annotated[tuple[PolicyId, ...], msgspec.Meta(min_length=1, max_length=1)]

    def __post_init__(self) -> None:
        """A status better than the worst claim would be believed by whoever reads no further."""
        if self.ear_status != self.ear_trustworthiness_vector.status():
            raise ValueError("ear_status is not the tier of the worst claim")


class NodeClaims(_Members, frozen=True, kw_only=True):
    """What of the node EAR has no names for: the private claim `cloister`. Digests are lower-case hexadecimal."""

    version: Literal[1] = 1
    platform: Text
    platform_measurement: Hex48
    workload: Hex48
    role: Role
    subject: Hex32  # the contract's digest, or the constitution's of a KMS, that the evidence binds
    settings: Hex32  # digest of the security settings
    keys: Hex32  # thumbprint of both of the node's keys, as evidence binds it
    wrap: Hex32  # SHA-256 of the X-Wing public key, 1,216 bytes: who encrypts to the node needs no proof from it
    unsafe: dict[Unsafe, bool]  # every flag there is, each said by itself

    def __post_init__(self) -> None:
        """A flag that is not mentioned could be one that was hidden."""
        if set(self.unsafe) != UNSAFE_FLAGS:
            raise ValueError("each Unsafe flag is a claim: true or false")

    @property
    def flags(self) -> tuple[str, ...]:
        """The exceptions in force at the node, sorted."""
        return tuple(sorted(name for name, claimed in self.unsafe.items() if claimed))


class AttestationResult(_Members, frozen=True, kw_only=True):
    """The claims of a token. Nothing in it is trusted yet."""

    eat_profile: Text
    iss: Text
    aud: Text  # exactly one
    iat: Seconds
    exp: Seconds
    eat_nonce: Base64Url  # the relying party's, 8 to 64 bytes
    cnf: Confirmation
    ear_status: Tier
    ear_verifier_id: VerifierId
    submods: Annotated[dict[Text, Submodule], msgspec.Meta(min_length=1, max_length=32)]
    cloister: NodeClaims

    def __post_init__(self) -> None:
        """The nonce's size, the processor's submodule, and an overall status that none of the parts belies."""
        if not 8 <= len(self.nonce) <= 64:
            raise ValueError("eat_nonce has 8 to 64 bytes")
        if CPU not in self.submods:
            raise ValueError(f"no submodule {CPU}")
        if self.ear_status != worst(submodule.ear_status for submodule in self.submods.values()):
            raise ValueError("ear_status is not that of the worst submodule")

    @property
    def nonce(self) -> bytes:
        """The relying party's nonce."""
        return decode_base64url(self.eat_nonce.encode())

    @property
    def key(self) -> bytes:
        """The node's Ed25519 key, 32 bytes."""
        return decode_base64url(self.cnf.jwk.x.encode())


def confirmation(public: bytes) -> Confirmation:
    """The `cnf` of the node whose Ed25519 key is `public`, 32 bytes."""
    return Confirmation(jwk=SigningJwk(x=encode_base64url(public).decode()))


def parse_attestation_result(payload: bytes) -> AttestationResult:
    """Parse a token's payload, at most 32 KiB of JSON.

    Raises:
        TooLarge, MalformedInput: not the claims of one of our verifiers; the sentence names the member.
    """
    members = parse_strict_json(payload, limit=MAXIMUM_CLAIMS)
    try:
        return msgspec.convert(members, AttestationResult, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise MalformedInput(f"not an attestation result: {error}") from error


def encode_attestation_result(result: AttestationResult) -> bytes:
    """The payload of a token."""
    return msgspec.json.encode(result)
