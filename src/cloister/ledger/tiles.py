"""Trees and tiles: the tiles of a tree, and the tree that tiles make, from which any proof can be made.

Tiles are believed in nothing: a root or a path that was made from them is held against a checkpoint like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cloister.crypto.merkle import EMPTY_ROOT, Subtree, inclusion_path, node_hash, root
from cloister.formats.tile import ENTRIES, WIDTH, Tile, widest

TILE_HEIGHT = 8  # of the tree that a full tile stands for


def tile_hashes(tile: Tile, subtree: Subtree) -> bytes:
    """The bytes of a tile of hashes: each the root over 256^level leaves, where `subtree` gives roots over leaves."""
    shift = TILE_HEIGHT * tile.level
    return b"".join(subtree(number << shift, (number + 1) << shift) for number in range(tile.first, tile.end))


class TiledTree:
    """The tree of a log of `size` entries, as its tiles of hashes have it."""

    def __init__(self, size: int, hashes: Callable[[Tile], tuple[bytes, ...]]) -> None:
        """`hashes` gives a tile's, as wide as a log of this size has it."""
        self._size = size
        self._hashes = hashes

    def root(self) -> bytes:
        """The root."""
        return self.subtree(0, self._size) if self._size else EMPTY_ROOT

    def subtree(self, start: int, end: int) -> bytes:
        """The root over leaves `start` to `end`, as RFC 6962 splits a tree."""
        height = (end - start).bit_length() - 1
        if end - start == 1 << height:
            return self._complete(start, height)
        middle = start + (1 << height)
        return node_hash(self.subtree(start, middle), self.subtree(middle, end))

    def _complete(self, start: int, height: int) -> bytes:
        level, within = divmod(height, TILE_HEIGHT)
        first = start >> TILE_HEIGHT * level
        hashes = self._hashes(widest(level, first // WIDTH, self._size))
        return root(hashes[first % WIDTH : first % WIDTH + (1 << within)])


def tiles_for_inclusion(index: int, size: int) -> frozenset[Tile]:
    """The tiles of hashes that the path of leaf `index` in a tree of `size` leaves is made from.

    Raises:
        ValueError: there is no such leaf.
    """
    asked: set[Tile] = set()

    def note(tile: Tile) -> tuple[bytes, ...]:
        asked.add(tile)
        return (bytes(32),) * tile.width

    inclusion_path(index, size, TiledTree(size, note).subtree)
    return frozenset(asked)


def inclusion_from_tiles(index: int, size: int, tiles: Mapping[Tile, tuple[bytes, ...]]) -> tuple[bytes, ...]:
    """The path of leaf `index` in a tree of `size` leaves, from `tiles_for_inclusion` with their hashes."""
    return inclusion_path(index, size, TiledTree(size, tiles.__getitem__).subtree)


def bundle_of(index: int, size: int) -> Tile:
    """The bundle that entry `index` of a log of `size` entries is in."""
    return widest(ENTRIES, index // WIDTH, size)
