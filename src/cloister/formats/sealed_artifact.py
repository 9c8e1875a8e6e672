"""Sealed artifacts: what stands beside a model's sealed files, in the clear (docs/formats/sealed-artifact.md).

The header names the model and says which key opens it, and is authenticated by that key; whoever has no key holds its
manifest's digest against the one that a contract names. The record of an unfinished one stands there until the last
file is sealed, and is gone then.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.canonical import Digest, Name
from cloister.formats.model_manifest import (
    MAXIMUM_FILE,
    MAXIMUM_FILES,
    MAXIMUM_MANIFEST,
    ModelManifest,
    ModelPath,
    parse_manifest,
)

HEADER_FILE: Final = "artifact.cbor"
UNFINISHED_FILE: Final = "unfinished.cbor"
SIGNATURE_FILE: Final = "model.sig"  # of OpenSSF's model-signing; whoever sealed may put it beside the header
FILES_FOLDER: Final = "files"
MAXIMUM_HEADER: Final = MAXIMUM_MANIFEST + 1024  # bytes
MAXIMUM_UNFINISHED: Final = 2 * MAXIMUM_MANIFEST
_ITEMS: Final = 64 + 16 * MAXIMUM_FILES
_ASSOCIATED: Final = b"cloister artifact v1"

ArtifactId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # nanoseconds since 1970


class ArtifactHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`key_check` tells its key from others; `mac` is by that key, over the whole header with 32 zeros in its place."""

    version: Literal[1] = 1
    id: ArtifactId  # drawn; every file's stream is bound to it
    key_check: Digest
    manifest: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_MANIFEST)]
    mac: Digest


class SourceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plain file as it was when sealing began, and its shards' digests once it is sealed and on disk."""

    path: ModelPath
    size: Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_FILE)]
    changed: Moment
    shards: bytes | None


class Unfinished(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is sealed of an artifact that is not whole yet."""

    version: Literal[1] = 1
    id: ArtifactId
    key_check: Digest
    name: Name
    files: Annotated[tuple[SourceFile, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_FILES)]


def parse_header(data: bytes) -> tuple[ArtifactHeader, ModelManifest]:
    """Parse a header of at most 8 MiB and the manifest in it; what it says is not authenticated by that.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    header = canonical.decode(data, ArtifactHeader, limit=MAXIMUM_HEADER)
    return header, parse_manifest(header.manifest)


def parse_unfinished(data: bytes) -> Unfinished:
    """Parse the record of an unfinished artifact.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    return canonical.decode(data, Unfinished, limit=MAXIMUM_UNFINISHED, items=_ITEMS)


def associated_data(artifact: bytes, path: str) -> bytes:
    """What a file's stream is bound to: the artifact's id, and the file's path in the model."""
    if len(artifact) != 16:
        raise MalformedInput("an artifact's id has 16 bytes")
    return _ASSOCIATED + artifact + path.encode()


def sealed_name(number: int) -> str:
    """The file's name in the artifact, by its place in the manifest."""
    return f"{number:05}.sealed"
