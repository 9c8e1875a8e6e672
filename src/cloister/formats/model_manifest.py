"""Model manifests: the files of a model by name, size and digests (docs/formats/sealed-artifact.md).

The digest of a manifest is what contracts, receipts and the ledger call the model's. It is the same whether the model
lies in a plain folder or sealed: nothing of keys, times or places is in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.canonical import Name

SHARD: Final = 64 << 20  # bytes: each is hashed by itself, so that several threads share the work on one file
DIGEST_SIZE: Final = 32  # SHA-256
MAXIMUM_FILES: Final = 10_000
MAXIMUM_FILE: Final = 1 << 42  # bytes, 4 TiB
MAXIMUM_MANIFEST: Final = 8 << 20  # bytes, encoded
_ITEMS: Final = 64 + 8 * MAXIMUM_FILES

# Relative; no part begins with a dot or a hyphen, so that nothing climbs, hides or reads as an option.
ModelPath = Annotated[
    str,
    msgspec.Meta(
        max_length=255,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+=@,()\[\] -]*(/[A-Za-z0-9_][A-Za-z0-9_.+=@,()\[\] -]*)*\Z",
    ),
]


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file. An empty one has no shard."""

    path: ModelPath
    size: Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_FILE)]  # bytes
    shards: bytes  # SHA-256 of each 64 MiB in their order, one behind the other, 32 bytes each

    def __post_init__(self) -> None:
        """Refuse digests that are not those of so many bytes."""
        if len(self.shards) != DIGEST_SIZE * shard_count(self.size):
            raise MalformedInput(f"{self.path} has {shard_count(self.size)} shards, and digests of another number")

    def digests(self) -> tuple[bytes, ...]:
        """Each shard's."""
        return tuple(self.shards[at : at + DIGEST_SIZE] for at in range(0, len(self.shards), DIGEST_SIZE))

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where each shard begins and ends in the file."""
        return spans_of(self.size)


class ModelManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model. Its files stand in the order of their names; none is another's folder."""

    version: Literal[1] = 1
    name: Name
    files: Annotated[tuple[ModelFile, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_FILES)]

    def __post_init__(self) -> None:
        """Refuse names that repeat, overlap or stand in another order."""
        require_apart([file.path for file in self.files])

    def digest(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes: the model's name elsewhere."""
        return hashlib.sha256(canonical.encode(self)).digest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def shard_count(size: int) -> int:
    """How many shards a file of so many bytes has."""
    return -(-size // SHARD)


def spans_of(size: int) -> Iterator[tuple[int, int]]:
    """Where each shard of a file of so many bytes begins and ends."""
    return ((begin, min(begin + SHARD, size)) for begin in range(0, size, SHARD))


def require_apart(paths: list[str]) -> None:
    """Hold that the paths stand in order, none twice, and none in a folder of another's name.

    Raises:
        MalformedInput: they do not; it names one.
    """
    for before, path in pairwise(paths):
        if before >= path:
            said = "stands twice" if before == path else "is out of order"
            raise MalformedInput(f"{path} {said}: files stand in the order of their names, each once")
    known = set(paths)
    for path in paths:
        parts = path.split("/")
        if any("/".join(parts[:length]) in known for length in range(1, len(parts))):
            raise MalformedInput(f"{path} lies in a folder of the same name as a file")


def parse_manifest(data: bytes) -> ModelManifest:
    """Parse a manifest of at most 8 MiB.

    Raises:
        TooLarge, MalformedInput: it is none.
    """
    return canonical.decode(data, ModelManifest, limit=MAXIMUM_MANIFEST, items=_ITEMS)


def encode_manifest(manifest: ModelManifest) -> bytes:
    """Its deterministic encoding.

    Raises:
        TooLarge: over 8 MiB.
    """
    encoded = canonical.encode(manifest)
    if len(encoded) > MAXIMUM_MANIFEST:
        raise TooLarge(f"a manifest of {len(encoded)} bytes, the cap is {MAXIMUM_MANIFEST}")
    return encoded
