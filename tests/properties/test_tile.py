"""Any path and any bytes are a tile's, or malformed."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.formats.tile import (
    ENTRIES,
    WIDTH,
    Tile,
    encode_entry_bundle,
    parse_entry_bundle,
    parse_tile_path,
    tiles_of,
    widest,
)

SIZES = st.integers(0, 2**63 - 1)


@given(st.one_of(st.text(), st.from_regex(r"\Atile/[0-9e]+/(x?[0-9]{3}/){0,7}[0-9]{3}(\.p/[0-9]{1,3})?\Z")))
def test_any_path_is_a_tiles_or_malformed(path):
    try:
        tile = parse_tile_path(path)
    except MalformedInput:
        return
    assert tile.path == path


@given(st.sampled_from([*range(8), ENTRIES]), st.integers(1, 2**63 - 1), st.data())
def test_every_tile_of_a_log_is_found_by_its_path(level, size, data):
    hashes = size >> 8 * max(level, 0)
    if hashes:
        tile = widest(level, data.draw(st.integers(0, (hashes - 1) // WIDTH)), size)
        assert tile.exists(size)
        assert parse_tile_path(tile.path) == tile


@given(st.integers(0, 300_000))
def test_the_tiles_of_a_level_hold_each_of_its_hashes_once(size):
    for level in range(3):
        tiles = [tile for tile in tiles_of(size) if tile.level == level]
        assert sum(tile.width for tile in tiles) == size >> 8 * level
        assert [tile.first for tile in tiles] == [WIDTH * number for number in range(len(tiles))]


@given(st.integers(1, 6), st.binary(max_size=64))
def test_any_bytes_are_a_bundle_or_malformed(width, data):
    try:
        entries = parse_entry_bundle(data, Tile(ENTRIES, 0, width))
    except MalformedInput:
        return
    assert len(entries) == width
    assert encode_entry_bundle(entries) == data
