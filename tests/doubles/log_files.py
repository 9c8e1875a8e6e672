"""A log's static files as a forger would write them: whatever it is told, whole or not."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloister.crypto.merkle import leaf_hash, root
from cloister.formats.tile import ENTRIES, encode_entry_bundle, tiles_of
from cloister.ledger.tiles import tile_hashes
from cloister.storage.tile_folder import CHECKPOINT, TileFolder


def write_log(place: Path, entries: Sequence[bytes], note: bytes, evidence: Mapping[bytes, bytes]) -> None:
    """Make `place` the files of a log of these entries, in place of what was there."""
    shutil.rmtree(place, ignore_errors=True)
    folder = TileFolder(place)
    leaves = [leaf_hash(entry) for entry in entries]

    def subtree(start: int, end: int) -> bytes:
        return root(leaves[start:end])

    for tile in tiles_of(len(entries)):
        bundle = tile.level == ENTRIES
        folder.write(
            tile.path, encode_entry_bundle(entries[tile.first : tile.end]) if bundle else tile_hashes(tile, subtree)
        )
    folder.write(CHECKPOINT, note)
    for digest, blob in evidence.items():
        folder.write(f"blobs/{digest.hex()}", blob)
