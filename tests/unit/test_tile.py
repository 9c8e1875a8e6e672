import pytest

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.tile import (
    ENTRIES,
    MAXIMUM_BUNDLE,
    Tile,
    encode_entry_bundle,
    parse_entry_bundle,
    parse_hashes,
    parse_tile_path,
    tiles_of,
    widest,
)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(1, 1000), "tile/1/x001/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),  # the specification's own example
        (Tile(0, 1_000_067, 112), "tile/0/x001/x000/067.p/112"),
        (Tile(7, 0, 127), "tile/7/000.p/127"),
        (Tile(ENTRIES, 1234, 255), "tile/entries/x001/234.p/255"),
    ],
)
def test_a_tile_has_one_path(tile, path):
    assert tile.path == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/leaves/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/067",
        "tile/0/001/067",
        "tile/0/x001/x067",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p",
        "tile/0/00\u0663",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/7/x999/999",
    ],
)
def test_another_path_is_of_no_tile(path):
    with pytest.raises(MalformedInput):
        parse_tile_path(path)


def test_a_log_of_70_000_entries_has_the_tiles_that_the_specification_counts():
    found = [tile for tile in tiles_of(70_000) if tile.level != ENTRIES]
    assert [tile.width for tile in found if tile.level == 0] == [256] * 273 + [112]
    assert [tile.width for tile in found if tile.level == 1] == [256, 17]
    assert [tile.width for tile in found if tile.level == 2] == [1]
    assert [tile for tile in tiles_of(70_000) if tile.level == ENTRIES] == [
        Tile(ENTRIES, tile.index, tile.width) for tile in found if tile.level == 0
    ]


def test_a_log_of_256_entries_has_a_full_tile_and_one_hash_above():
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1), Tile(ENTRIES, 0)]
    assert list(tiles_of(0)) == []


@pytest.mark.parametrize(("level", "index", "size"), [(0, 0, 0), (0, 1, 256), (1, 0, 255), (ENTRIES, 2, 512)])
def test_no_tile_is_empty(level, index, size):
    with pytest.raises(ValueError, match="has no tile"):
        widest(level, index, size)


@pytest.mark.parametrize(
    ("tile", "smallest"), [(Tile(0, 0, 3), 3), (Tile(1, 2, 5), 517 * 256), (Tile(ENTRIES, 1), 512)]
)
def test_a_tile_exists_once_the_log_has_all_its_hashes(tile, smallest):
    assert tile.exists(smallest)
    assert not tile.exists(smallest - 1)


def test_hashes_are_read_back():
    tile = Tile(0, 0, 2)
    assert parse_hashes(b"a" * 32 + b"b" * 32, tile) == (b"a" * 32, b"b" * 32)
    for wrong in (b"", b"a" * 32, b"a" * 63, b"a" * 96):
        with pytest.raises(MalformedInput):
            parse_hashes(wrong, tile)


def test_a_bundle_is_entries_behind_their_lengths():
    tile, entries = Tile(ENTRIES, 0, 3), (b"one", b"", b"x" * 65_535)
    data = encode_entry_bundle(entries)
    assert data[:5] == b"\x00\x03one"
    assert parse_entry_bundle(data, tile) == entries


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1a", b"\0\1a\0", b"\0\1a\0\2b", b"\0\1a\0\1b\0\1c", b"\0\1a\0\1bc"])
def test_what_is_no_bundle_of_two_entries_is_malformed(data):
    with pytest.raises(MalformedInput):
        parse_entry_bundle(data, Tile(ENTRIES, 0, 2))


def test_a_bundle_over_the_cap_is_refused_before_it_is_read():
    with pytest.raises(TooLarge):
        parse_entry_bundle(bytes(MAXIMUM_BUNDLE + 1), Tile(ENTRIES, 0))
