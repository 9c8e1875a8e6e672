"""The record in which a KMS seals its root secrets to its platform (docs/formats/custody.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest

MAXIMUM_SEALED_ROOTS = 1024 * 1024  # bytes


class SealedRoot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One secret, and the SHA-256 of the entry of the root that it is of."""

    root: Digest
    secret: Digest  # 32 bytes

    def __repr__(self) -> str:
        return f"<SealedRoot of {self.root.hex()[:16]}…>"


class SealedRoots(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that an instance held."""

    version: Literal[1] = 1
    roots: Annotated[tuple[SealedRoot, ...], msgspec.Meta(max_length=4096)]


def parse_sealed_roots(data: bytes) -> SealedRoots:
    """Parse what was sealed."""
    return canonical.decode(data, SealedRoots, limit=MAXIMUM_SEALED_ROOTS, items=32_768)
