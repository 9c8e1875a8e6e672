"""A whole log as an auditor takes it: checkpoint, entries in their order, and the evidence that they name.

All of it comes from static files, a ledger's or a copy's (docs/formats/tiles.md); evidence lies beside them under
`blobs/` and its SHA-256. Nothing is believed: the audit holds each part against the others.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable

from cloister.contract.audit.payloads import evidence_named, read_entry
from cloister.errors import MalformedInput, TooLarge, Unavailable, UsageError
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.ledger_messages import MAXIMUM_BLOB
from cloister.formats.tile import ENTRIES, tiles_of
from cloister.peers.tiles import NotThere, TileFiles, TileSource, read_bundle, read_checkpoint
from cloister.storage.tile_folder import TileFolder


async def copy_evidence(source: TileSource, folder: TileFolder, size: int) -> int:
    """Bring to a copy of the log's first `size` entries the evidence that they name; how many lack at the source.

    Raises:
        Unavailable: the source cannot be read now.
        OSError: the copy cannot be written.
    """
    lacking = 0
    async for entries, _ in AuditedLog(TileFiles(folder), None).bundles(size, since=0):
        for digest in evidence_named_in(entries):
            path = evidence_path(digest)
            if folder.has(path):
                continue
            try:
                blob = await source.read(path, limit=MAXIMUM_BLOB)
            except NotThere:
                lacking += 1
                continue
            if hashlib.sha256(blob).digest() != digest:
                raise Unavailable(f"the evidence {digest.hex()} is not what comes under that name")
            await asyncio.to_thread(folder.write, path, blob)
    return lacking


def evidence_path(digest: bytes) -> str:
    """Where evidence lies below a log's prefix."""
    return f"blobs/{digest.hex()}"


def evidence_named_in(entries: Iterable[bytes]) -> list[bytes]:
    """The digests of the evidence that entries name, each once."""
    named = (evidence_named(read_entry(entry)) for entry in entries)
    return sorted({digest for digest in named if digest is not None})


class AuditedLog:
    """The files of one log, and where the evidence is."""

    def __init__(self, files: TileSource, evidence: TileSource | None) -> None:
        """`evidence` is None where none is to be examined."""
        self._files = files
        self._evidence = evidence

    async def checkpoint(self) -> tuple[bytes, int]:
        """The log's latest note, and how many entries it says that there are.

        Raises:
            UsageError: what stands there is no checkpoint.
            Unavailable: it cannot be read.
        """
        note = await read_checkpoint(self._files)
        try:
            return note, parse_checkpoint(parse_note(note).text).size
        except (MalformedInput, TooLarge) as error:
            raise UsageError(f"the log's checkpoint is none: {error}") from error

    async def bundles(self, size: int, *, since: int) -> AsyncIterator[tuple[tuple[bytes, ...], dict[bytes, bytes]]]:
        """The first `size` entries, up to 256 at once, each time with the evidence that those from `since` on name.

        Raises:
            Unavailable: a file is not there, or is broken.
        """
        for tile in tiles_of(size):
            if tile.level == ENTRIES:
                entries = await read_bundle(self._files, tile)
                yield entries, await self._evidence_of(entries[max(0, since - tile.first) :])

    async def _evidence_of(self, entries: Iterable[bytes]) -> dict[bytes, bytes]:
        """What is kept of the evidence that these entries name, by its digest."""
        found = await asyncio.gather(*map(self._kept, evidence_named_in(entries)))
        return {digest: blob for digest, blob in found if blob is not None}

    async def _kept(self, digest: bytes) -> tuple[bytes, bytes | None]:
        if self._evidence is None:
            return digest, None
        try:
            return digest, await self._evidence.read(evidence_path(digest), limit=MAXIMUM_BLOB)
        except NotThere:
            return digest, None
