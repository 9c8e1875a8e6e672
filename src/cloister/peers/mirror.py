"""Copies a log into a folder of static files, all of it examined: whoever reads the copy can do the same again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from cloister.crypto.merkle import GrowingTree, leaf_hash
from cloister.errors import Refused, UsageError
from cloister.formats.checkpoint import MAXIMUM_NOTE
from cloister.formats.tile import (
    ENTRIES,
    MAXIMUM_BUNDLE,
    WIDTH,
    Tile,
    encode_entry_bundle,
    parse_entry_bundle,
    tiles_of,
)
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.ledger.log_rules import LogRules
from cloister.ledger.mirror import MirroredLog, examine_mirror
from cloister.ledger.tiles import tile_hashes
from cloister.peers.tiles import TileSource, read_bundle, read_checkpoint
from cloister.storage.tile_folder import CHECKPOINT, TileFolder


async def mirror(source: TileSource, folder: TileFolder, rules: LogRules) -> MirroredLog:
    """Bring `folder` up to the latest checkpoint of `source`; only what it lacks is read.

    The folder's checkpoint is replaced last, once everything under it is there: a copy that ends half way is the one
    of before, and the next begins where it ended.

    Raises:
        Unavailable: a file is not there, or is broken.
        Refused: the checkpoint, or the entries under it, are not what `rules` and the folder's own checkpoint allow.
        UsageError: the folder holds another log, or was changed.
    """
    kept = _kept(folder, rules)
    note = await read_checkpoint(source)
    checkpoint = rules.examine(note).require()
    tree = GrowingTree()
    for tile in _bundles(checkpoint.size):
        tree.extend(map(leaf_hash, await _entries(source, folder, tile, kept)))
    mirrored = examine_mirror(note, tree, rules, kept=kept).require()
    await asyncio.to_thread(_finish, folder, mirrored, kept)
    return mirrored


def _kept(folder: TileFolder, rules: LogRules) -> VerifiedCheckpoint | None:
    """The checkpoint of the copy that is there."""
    note = folder.read(CHECKPOINT, limit=MAXIMUM_NOTE)
    if note is None:
        return None
    try:
        return rules.examine(note).require()
    except Refused as error:
        raise UsageError(f"{folder.root} holds no copy of this log ({error}): name another folder") from error


async def _entries(
    source: TileSource, folder: TileFolder, tile: Tile, kept: VerifiedCheckpoint | None
) -> tuple[bytes, ...]:
    """A bundle's entries: the copy's own where that has all of it, else the source's, which are copied."""
    if _has(tile, kept):
        data = await asyncio.to_thread(folder.read, tile.path, limit=MAXIMUM_BUNDLE)
        if data is not None:
            return parse_entry_bundle(data, tile)
    entries = await read_bundle(source, tile)
    await asyncio.to_thread(folder.write, tile.path, encode_entry_bundle(entries))
    return entries


def _finish(folder: TileFolder, mirrored: MirroredLog, kept: VerifiedCheckpoint | None) -> None:
    for tile in tiles_of(mirrored.checkpoint.size):
        if tile.level != ENTRIES and not (_has(tile, kept) and (folder.root / tile.path).exists()):
            folder.write(tile.path, tile_hashes(tile, mirrored.tree.subtree))
    folder.write(CHECKPOINT, mirrored.checkpoint.note)
    for tile in tiles_of(mirrored.checkpoint.size):
        if tile.width == WIDTH:
            folder.drop_partials(tile)


def _has(tile: Tile, kept: VerifiedCheckpoint | None) -> bool:
    """Whether the copy, as it was left, has the full tile."""
    return kept is not None and tile.width == WIDTH and tile.exists(kept.size)


def _bundles(size: int) -> Iterator[Tile]:
    return (tile for tile in tiles_of(size) if tile.level == ENTRIES)
