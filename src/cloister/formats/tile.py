"""Tiles of a log, by C2SP tlog-tiles: their paths, their hashes, and the entry bundles beside them.

A tile is 256 hashes of one level, or fewer at the log's right edge; a hash of a level is the root over a full tile of
the level below. A bundle is the entries under one tile of level 0. Nothing here is checked against a checkpoint:
`ledger.tiles` does that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import MAXIMUM_SIZE

WIDTH: Final = 256  # hashes of a full tile
HASH_SIZE: Final = 32  # bytes
ENTRIES: Final = -1  # the level of a bundle of entries
MAXIMUM_LEVEL: Final = 7  # what a log of 2^63 - 1 entries has
MAXIMUM_BUNDLED: Final = 65_535  # bytes of one entry: its length is two bytes
MAXIMUM_BUNDLE: Final = WIDTH * (2 + MAXIMUM_BUNDLED)  # bytes

_PATH = re.compile(r"tile/(entries|[0-7])/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """The name of a tile or bundle: hashes (or entries) `first` to before `end` of its level, 1 to 256 of them."""

    level: int  # 0 to 7, or `ENTRIES`
    index: int
    width: int = WIDTH

    @property
    def first(self) -> int:
        """The number, in its level, of its first hash."""
        return self.index * WIDTH

    @property
    def end(self) -> int:
        """The number, in its level, after its last hash."""
        return self.first + self.width

    @property
    def path(self) -> str:
        """The path below the log's prefix (tlog-tiles section "Merkle Tree")."""
        groups = [f"{self.index % 1000:03}"]
        rest = self.index // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03}")
            rest //= 1000
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(groups)}{partial}"

    def exists(self, size: int) -> bool:
        """Whether a log of `size` entries has all of its hashes."""
        return self.end <= size >> 8 * max(self.level, 0)


def parse_tile_path(path: str) -> Tile:
    """The tile or bundle that `path`, below the log's prefix, is of.

    Raises:
        MalformedInput: it is of none, or not in the one spelling of its name.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        raise MalformedInput("a tile's path is tile/<level or entries>/<index in groups of three digits>[.p/<width>]")
    level, groups, width = found.groups()
    number = int(groups.replace("x", "").replace("/", ""))
    tile = Tile(ENTRIES if level == "entries" else int(level), number, WIDTH if width is None else int(width))
    if tile.path != path or tile.width > WIDTH or not tile.exists(MAXIMUM_SIZE):
        raise MalformedInput("not the one path of a tile: no leading groups of zeros, a partial width of 1 to 255")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of a log of `size` entries and every bundle, each as wide as it then is; bundles come last."""
    for level in (*range(MAXIMUM_LEVEL + 1), ENTRIES):
        hashes = size >> 8 * max(level, 0)
        for index in range((hashes + WIDTH - 1) // WIDTH):
            yield widest(level, index, size)


def widest(level: int, index: int, size: int) -> Tile:
    """The tile at `index` of `level` as a log of `size` entries has it.

    Raises:
        ValueError: it has none.
    """
    width = min(WIDTH, (size >> 8 * max(level, 0)) - index * WIDTH)
    if width < 1:
        raise ValueError(f"a log of {size} entries has no tile {index} of level {level}")
    return Tile(level, index, width)


def parse_hashes(data: bytes, tile: Tile) -> tuple[bytes, ...]:
    """The hashes of a tile, 32 bytes each.

    Raises:
        MalformedInput: another length than the tile's.
    """
    if len(data) != tile.width * HASH_SIZE:
        raise MalformedInput(f"a tile of {tile.width} hashes has {tile.width * HASH_SIZE} bytes, not {len(data)}")
    return tuple(data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE))


def encode_entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, at most 65,535 bytes each, behind their lengths of two bytes, big-endian."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_entry_bundle(data: bytes, tile: Tile) -> tuple[bytes, ...]:
    """The entries of a bundle.

    Raises:
        TooLarge, MalformedInput: not a bundle, or of another number of entries than the tile's width.
    """
    if len(data) > MAXIMUM_BUNDLE:
        raise TooLarge(f"a bundle of {len(data)} bytes, the cap is {MAXIMUM_BUNDLE}")
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) <= tile.width:
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        entries.append(data[start:at])
    if at != len(data) or len(entries) != tile.width:
        raise MalformedInput(f"not a bundle of {tile.width} entries, each behind its length")
    return tuple(entries)
