"""What the ledger's HTTP API carries beside notes and receipts (docs/formats/ledger.md): deterministic CBOR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cbor2
import msgspec

from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.canonical import Count, Digest
from cloister.formats.checkpoint import MAXIMUM_NOTE
from cloister.formats.key_bundle import EntryBytes, Note, ProofPath

MAXIMUM_PAGE: Final = 4 * 1024 * 1024  # bytes of one answer with entries; one entry always fits
MAXIMUM_PAGE_ENTRIES: Final = 1024
MAXIMUM_BLOB: Final = 16 * 1024 * 1024  # bytes
MAXIMUM_APPENDED: Final = MAXIMUM_NOTE + 4096  # bytes: a note, a path, an index


class Appended(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer to an append: where the entry stands, and its path under a checkpoint that a quorum cosigned."""

    index: Count
    checkpoint: Note
    path: ProofPath


def parse_appended(data: bytes) -> Appended:
    """Parse the answer to an append, at most 132 KiB."""
    return canonical.decode(data, Appended, limit=MAXIMUM_APPENDED)


def encode_list(items: Sequence[bytes]) -> bytes:
    """Entries, or the hashes of a path, in their order."""
    return cbor2.dumps(list(items), canonical=True)


def parse_entries(data: bytes) -> tuple[bytes, ...]:
    """Parse a page of entries, at most 4 MiB and some bytes of framing."""
    return _parse_list(data, tuple[EntryBytes, ...], MAXIMUM_PAGE + 16_384)


def parse_path(data: bytes) -> tuple[bytes, ...]:
    """Parse a path of at most 64 hashes."""
    return _parse_list(data, ProofPath, 4096)


def encode_digest(digest: bytes) -> bytes:
    """A SHA-256 digest, as the blob store answers it."""
    return cbor2.dumps(digest, canonical=True)


def parse_digest(data: bytes) -> bytes:
    """Parse a SHA-256 digest."""
    value: bytes = _convert(canonical.plain(data, limit=64), Digest)
    return value


def _parse_list(data: bytes, kind: Any, limit: int) -> tuple[bytes, ...]:
    items: tuple[bytes, ...] = _convert(canonical.plain(data, limit=limit), kind)
    return items


def _convert(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=True, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise MalformedInput(f"not what the ledger's API carries: {error}") from error
