"""A whole log of tlog-tiles: every checkpoint's signature and root, every tile and bundle."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.vectors.ledger import Case, Wrong

from cloister.crypto.merkle import leaf_hash
from cloister.crypto.merkle import root as root_of
from cloister.formats.checkpoint import parse_checkpoint, parse_note, parse_vkey
from cloister.formats.constitution import Log
from cloister.formats.tile import ENTRIES, Tile, parse_entry_bundle, parse_hashes, parse_tile_path
from cloister.ledger.checkpoints import check_log_signature


def logs(folder: Path) -> Iterator[Case]:
    """Each folder is a log as a web server would serve it, with its key beside it."""
    for log in sorted(path.parent for path in folder.glob("*/vkey.txt")):
        for path in sorted(log.glob("checkpoint*")):
            yield Case(f"{log.name}/{path.name}", partial(_checkpoint, log, path))
        for path in sorted((log / "tile").rglob("*")):
            if path.is_file():
                name = str(path.relative_to(log))
                yield Case(f"{log.name}/{name}", partial(_tile, log, name))


def _checkpoint(log: Path, path: Path) -> str:
    key = parse_vkey((log / "vkey.txt").read_text().strip())
    note = parse_note(path.read_bytes())
    checkpoint = parse_checkpoint(note.text)
    check_log_signature(note, Log(origin=key.name, key=key.public))
    entries = _entries(log)[: checkpoint.size]
    if len(entries) != checkpoint.size or root_of([leaf_hash(entry) for entry in entries]) != checkpoint.root:
        raise Wrong(f"the entries do not add up to the root at {checkpoint.size}")
    return f"signed, and the root of {checkpoint.size} entries"


def _tile(log: Path, name: str) -> str:
    tile, data, entries = parse_tile_path(name), (log / name).read_bytes(), _entries(log)
    if tile.level == ENTRIES:
        if parse_entry_bundle(data, tile) != tuple(entries[tile.first : tile.end]):
            raise Wrong("the bundle's entries are others than the widest bundle's")
        return f"{tile.width} entries"
    span = 256**tile.level
    wanted = [root_of([leaf_hash(one) for one in entries[at * span :][:span]]) for at in range(tile.first, tile.end)]
    if parse_hashes(data, tile) != tuple(wanted):
        raise Wrong("a hash is not that of its entries")
    return f"{tile.width} hashes"


def _entries(log: Path) -> list[bytes]:
    """All entries, from the widest bundle of each index."""
    widest: dict[int, tuple[Tile, Path]] = {}
    for path in (log / "tile/entries").rglob("*"):
        if path.is_file():
            tile = parse_tile_path(str(path.relative_to(log)))
            if tile.index not in widest or widest[tile.index][0].width < tile.width:
                widest[tile.index] = tile, path
    found = [widest[index] for index in sorted(widest)]
    return [entry for tile, path in found for entry in parse_entry_bundle(path.read_bytes(), tile)]


SETS = {"tlog-tiles": logs}
