"""What vendors say, as a store keeps it and as it is carried across an air gap (docs/formats/endorsement-bundle.md).

Each of these brings everything that it takes to check it against a pinned root, but for the root's pin: it needs no
neighbour, and can be carried and checked by itself. Nothing here is trusted yet.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, get_args

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.intel_collateral import Chain, Document, Signature

MAXIMUM_BUNDLE: Final = 32 * 1024 * 1024  # bytes
MAXIMUM_KEPT: Final = 3 * 1024 * 1024  # bytes of one
MAXIMUM_INTEL_LIST: Final = 320 * 1024  # bytes
_DIGEST: Final = 32  # bytes

Der = Annotated[bytes, msgspec.Meta(min_length=1, max_length=16 * 1024)]
Revocations = Annotated[bytes, msgspec.Meta(min_length=1, max_length=1024 * 1024)]  # DER
# Two of these in hex digits, with both documents, are an endorsement of at most 2 MiB.
IntelRevocations = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_INTEL_LIST)]  # DER
ManifestId = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
Kind = Literal[
    "amd-key",
    "amd-revocations",
    "intel-tcb-info",
    "intel-qe-identity",
    "intel-pck-revocations",
    "intel-root-revocations",
    "nvidia-manifest",
    "ocsp-answer",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """One thing that a vendor says."""


class AmdKey(_Kept, frozen=True, kw_only=True, tag="amd-key"):
    """A VCEK's or VLEK's certificate and those above it."""

    chain: tuple[Der, Der, Der]  # VCEK or VLEK, ASK or ASVK, ARK


class AmdRevocations(_Kept, frozen=True, kw_only=True, tag="amd-revocations"):
    """A revocation list of a product's root key."""

    data: Revocations
    issuer: Der  # the ARK


class IntelTcbInfo(_Kept, frozen=True, kw_only=True, tag="intel-tcb-info"):
    """TCB info of one FMSPC and TEE."""

    body: Document  # byte by byte as it was signed
    signature: Signature
    issuer_chain: Chain  # PEM: the signing certificate, the root


class IntelQeIdentity(_Kept, frozen=True, kw_only=True, tag="intel-qe-identity"):
    """The identity of quoting enclaves of one TEE."""

    body: Document
    signature: Signature
    issuer_chain: Chain


class IntelPckRevocations(_Kept, frozen=True, kw_only=True, tag="intel-pck-revocations"):
    """The revocation list of one of the two CAs that certify platforms."""

    data: IntelRevocations
    issuer_chain: Chain  # PEM: that CA, the root


class IntelRootRevocations(_Kept, frozen=True, kw_only=True, tag="intel-root-revocations"):
    """The revocation list of Intel's root."""

    data: IntelRevocations
    issuer: Der


class NvidiaManifest(_Kept, frozen=True, kw_only=True, tag="nvidia-manifest"):
    """A reference integrity manifest, by the id that NVIDIA's service has it under."""

    id: ManifestId
    data: Annotated[bytes, msgspec.Meta(min_length=1, max_length=256 * 1024)]


class OcspAnswer(_Kept, frozen=True, kw_only=True, tag="ocsp-answer"):
    """What a responder of NVIDIA's says of one certificate, to be stapled."""

    data: Annotated[bytes, msgspec.Meta(min_length=1, max_length=64 * 1024)]
    chain: Annotated[tuple[Der, ...], msgspec.Meta(min_length=2, max_length=8)]  # that certificate first, the root last


Kept = (
    AmdKey
    | AmdRevocations
    | IntelTcbInfo
    | IntelQeIdentity
    | IntelPckRevocations
    | IntelRootRevocations
    | NvidiaManifest
    | OcspAnswer
)


def kind_of(kept: Kept) -> Kind:
    """Its kind, as it is written."""
    kinds: dict[type[Kept], Kind] = {
        AmdKey: "amd-key",
        AmdRevocations: "amd-revocations",
        IntelTcbInfo: "intel-tcb-info",
        IntelQeIdentity: "intel-qe-identity",
        IntelPckRevocations: "intel-pck-revocations",
        IntelRootRevocations: "intel-root-revocations",
        NvidiaManifest: "nvidia-manifest",
        OcspAnswer: "ocsp-answer",
    }
    return kinds[type(kept)]


def require_form(kept: Kept) -> Kept:
    """Hold one that code put together against its own format: what is kept shall be read again.

    Raises:
        MalformedInput: a part is over its cap, or not of its form.
    """
    try:
        again: Kept = msgspec.convert(
            msgspec.to_builtins(kept, builtin_types=(bytes,)), type(kept), builtin_types=(bytes,)
        )
    except msgspec.ValidationError as error:
        raise MalformedInput(f"not what is kept of a vendor's words: {error}") from error
    return again


class EndorsementBundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of them. Nobody signs it: each of its parts is signed by its vendor."""

    version: Literal[1] = 1
    kept: Annotated[tuple[Kept, ...], msgspec.Meta(min_length=1, max_length=4096)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1] = 1
    kept: Kept


def parse_bundle(data: bytes) -> EndorsementBundle:
    """A bundle, at most 32 MiB.

    Raises:
        TooLarge, MalformedInput: not a bundle, or one of its parts is there twice.
    """
    bundle = canonical.decode(data, EndorsementBundle, limit=MAXIMUM_BUNDLE)
    if len(set(bundle.kept)) != len(bundle.kept):
        raise MalformedInput("a bundle of endorsements that has one of them twice")
    return bundle


def encode_file(kept: Kept) -> bytes:
    """What a store's file of it holds: SHA-256 of the rest, 32 bytes; then a record of version 1."""
    record = canonical.encode(_File(kept=kept))
    return hashlib.sha256(record).digest() + record


def parse_file(data: bytes) -> Kept:
    """The content of such a file.

    Raises:
        TooLarge, MalformedInput: not such a file, or a damaged one.
    """
    if len(data) > MAXIMUM_KEPT:
        raise TooLarge(f"a file of {len(data)} bytes, the cap is {MAXIMUM_KEPT}")
    digest, record = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(record).digest() != digest:
        raise MalformedInput("its digest is not that of its content")
    return canonical.decode(record, _File, limit=MAXIMUM_KEPT).kept
