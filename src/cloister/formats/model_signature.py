"""OpenSSF's model signatures: a Sigstore bundle with a DSSE envelope over an in-toto statement about a model's shards.

A signature is by a key that its reader knows; bundles with certificates or transparency entries are another tool's. The
shards are the manifest's, so a sealed model's signature is checked against its manifest, without opening it. Empty
files have no shard: OpenSSF's statement says nothing of them, so a model that is signed has none.

Sources: github.com/sigstore/model-transparency; in-toto Statement v1; github.com/secure-systems-lab/dsse, protocol.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.model_manifest import (
    MAXIMUM_FILES,
    SHARD,
    ModelFile,
    ModelManifest,
    shard_count,
    spans_of,
)
from cloister.formats.strict_json import parse_strict_json

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
ALGORITHM: Final = f"sha256-sharded-{SHARD}"
MAXIMUM_SIGNATURE: Final = 32 << 20  # bytes
_RESOURCE: Final = re.compile(r"(.+):(0|[1-9][0-9]{0,12}):([1-9][0-9]{0,12})")  # path, begin, end
_MOST_SHARDS: Final = 100_000  # 6.4 TB of weights

Kind = TypeVar("Kind", bound=msgspec.Struct)
Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Sha256(msgspec.Struct, frozen=True, kw_only=True):
    """A digest as in-toto writes it."""

    sha256: Hex


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The model by name and the digest of all resources' digests."""

    name: Annotated[str, msgspec.Meta(max_length=255)]
    digest: Sha256


class Serialization(msgspec.Struct, frozen=True, kw_only=True):
    """How the model was cut; others read again how to."""

    method: Annotated[str, msgspec.Meta(max_length=64)]
    hash_type: Annotated[str, msgspec.Meta(max_length=64)]
    allow_symlinks: bool
    shard_size: float | None = None  # a whole number; protobuf's JSON writes it with a point
    ignore_paths: Annotated[tuple[str, ...], msgspec.Meta(max_length=10 * MAXIMUM_FILES)] = ()


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A shard: `path:begin:end` and its digest."""

    name: Annotated[str, msgspec.Meta(max_length=300)]
    algorithm: Annotated[str, msgspec.Meta(max_length=64)]
    digest: Hex


class Predicate(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of the model."""

    serialization: Serialization
    resources: Annotated[tuple[Resource, ...], msgspec.Meta(max_length=_MOST_SHARDS)]


class SignedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The in-toto statement. Other fields are none of a verifier's business (predicate v1.0 says so)."""

    type: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type", default=STATEMENT_TYPE)
    subject: Annotated[tuple[Subject, ...], msgspec.Meta(min_length=1, max_length=1)]
    predicate_type: Literal["https://model_signing/signature/v1.0"] = msgspec.field(
        name="predicateType", default=PREDICATE_TYPE
    )
    predicate: Predicate


class _Signature(msgspec.Struct, frozen=True, kw_only=True):
    sig: Annotated[str, msgspec.Meta(max_length=512)]
    keyid: Annotated[str, msgspec.Meta(max_length=256)] = ""


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    payload: str
    payload_type: Literal["application/vnd.in-toto+json"] = msgspec.field(name="payloadType")
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(min_length=1, max_length=1)]


class _KeyHint(msgspec.Struct, frozen=True, kw_only=True):
    hint: Hex


class _Material(msgspec.Struct, frozen=True, kw_only=True):
    public_key: _KeyHint = msgspec.field(name="publicKey")
    tlog_entries: tuple[Any, ...] = msgspec.field(name="tlogEntries", default=())


class _Bundle(msgspec.Struct, frozen=True, kw_only=True):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"] = msgspec.field(name="mediaType")
    material: _Material = msgspec.field(name="verificationMaterial")
    envelope: _Envelope = msgspec.field(name="dsseEnvelope")


class ModelSignature(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle, read; nothing in it is checked."""

    payload: bytes  # the statement as it was signed
    signature: bytes  # DER
    key: bytes  # SHA-256 of the public key's PEM, 32 bytes

    @property
    def signed(self) -> bytes:
        """What the signature is over."""
        return signed_bytes(self.payload)


def signed_bytes(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def resources_of(manifest: ModelManifest) -> tuple[Resource, ...]:
    """Every shard of a model, in the order of model-signing: by the parts of the paths."""
    ordered = sorted(manifest.files, key=lambda file: file.path.split("/"))
    return tuple(
        Resource(name=f"{file.path}:{begin}:{end}", algorithm=ALGORITHM, digest=digest.hex())
        for file in ordered
        for (begin, end), digest in zip(file.spans(), file.digests(), strict=True)
    )


def statement_of(manifest: ModelManifest, ignored: Sequence[str]) -> SignedModel:
    """What is said of a model, in whose folder these names are no part of it."""
    resources = resources_of(manifest)
    return SignedModel(
        subject=(Subject(name=manifest.name, digest=Sha256(sha256=root_of(resources))),),
        predicate=Predicate(
            serialization=Serialization(
                method="shards", hash_type="sha256", allow_symlinks=False, shard_size=SHARD, ignore_paths=tuple(ignored)
            ),
            resources=resources,
        ),
    )


def manifest_of(signed: SignedModel) -> ModelManifest:
    """The model that a statement is over, so that its digest can be told without its files.

    Raises:
        MalformedInput: it is not over shards as manifests have them, one behind the other from each file's beginning.
    """
    shards: dict[str, list[tuple[int, int, bytes]]] = {}
    for one in signed.predicate.resources:
        found = _RESOURCE.fullmatch(one.name)
        if found is None:
            raise MalformedInput(f"{one.name!r} is no shard of a model: path:begin:end")
        path, begin, end = found[1], int(found[2]), int(found[3])
        shards.setdefault(path, []).append((begin, end, bytes.fromhex(one.digest)))
    try:
        return msgspec.convert(
            {"name": signed.subject[0].name, "files": [_file(path, shards[path]) for path in sorted(shards)]},
            ModelManifest,
        )
    except msgspec.ValidationError as error:
        raise MalformedInput(f"a statement that is over no model: {error}") from error


def _file(path: str, shards: list[tuple[int, int, bytes]]) -> ModelFile:
    ordered = sorted(shards)
    size = ordered[-1][1]
    # The number first: who claims a file of terabytes by one shard is not believed for long.
    if len(ordered) != shard_count(size) or [(begin, end) for begin, end, _ in ordered] != list(spans_of(size)):
        raise MalformedInput(f"{path} is not cut into shards of {SHARD} bytes from its beginning")
    return msgspec.convert(
        {"path": path, "size": size, "shards": b"".join(digest for _, _, digest in ordered)}, ModelFile
    )


def root_of(resources: Sequence[Resource]) -> str:
    """The digest over all digests in their order, in hexadecimal digits."""
    return hashlib.sha256(b"".join(bytes.fromhex(one.digest) for one in resources)).hexdigest()


def encode_signature(found: ModelSignature) -> bytes:
    """The bundle's JSON."""
    bundle = _Bundle(
        media_type=MEDIA_TYPE,
        material=_Material(public_key=_KeyHint(hint=found.key.hex())),
        envelope=_Envelope(
            payload=base64.b64encode(found.payload).decode(),
            payload_type=PAYLOAD_TYPE,
            signatures=(_Signature(sig=base64.b64encode(found.signature).decode()),),
        ),
    )
    return msgspec.json.format(msgspec.json.encode(bundle)) + b"\n"


def parse_signature(data: bytes) -> ModelSignature:
    """Read a bundle of at most 32 MiB.

    Raises:
        TooLarge, MalformedInput: it is none, or not one by a key alone.
    """
    bundle = _decode(data, _Bundle)
    try:
        payload = base64.b64decode(bundle.envelope.payload, validate=True)
        signature = base64.b64decode(bundle.envelope.signatures[0].sig, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedInput("a bundle's payload and signature are in Base64") from error
    return ModelSignature(payload=payload, signature=signature, key=bytes.fromhex(bundle.material.public_key.hint))


def parse_signed_model(payload: bytes) -> SignedModel:
    """Read the statement in a bundle.

    Raises:
        TooLarge, MalformedInput: it is none, or at odds with itself.
    """
    found = _decode(payload, SignedModel)
    if root_of(found.predicate.resources) != found.subject[0].digest.sha256:
        raise MalformedInput("a model's statement whose digest is not that of its resources")
    return found


def _decode(data: bytes, kind: type[Kind]) -> Kind:
    try:
        return msgspec.convert(parse_strict_json(data, limit=MAXIMUM_SIGNATURE, fractions=True), kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise MalformedInput(f"no model's signature by a key: {error}") from error
