"""A log copied into static files, from the ledger or from another copy, each time examined whole."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from tests.doubles.made_log import MadeLog
from tests.doubles.served import served
from tests.unit.ledger.test_routes import ledger

from cloister.errors import Refused, Unavailable, UsageError
from cloister.formats.tile import Tile, encode_entry_bundle, parse_tile_path, tiles_of
from cloister.ledger.log_rules import LogRules
from cloister.peers.mirror import mirror
from cloister.peers.tiles import open_source, prove
from cloister.storage.tile_folder import TileFolder


@pytest.fixture
def log(tmp_path):
    return MadeLog(tmp_path / "log")


@pytest.fixture
def copy(tmp_path):
    return TileFolder(tmp_path / "copy")


async def copied(log, copy, *, place=None):
    async with open_source(str(log.folder.root) if place is None else place) as source:
        return await mirror(source, copy, log.rules)


def files(folder):
    return {str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, 255, 256, 300])
async def test_a_copy_is_the_same_files(log, copy, size):
    log.grow(size)
    assert (await copied(log, copy)).checkpoint.size == size
    assert files(copy) == {"checkpoint"} | {tile.path for tile in tiles_of(size)}
    for path in files(copy):
        assert (copy.root / path).read_bytes() == (log.folder.root / path).read_bytes()


async def test_a_copy_of_a_copy_proves_as_much(log, copy, tmp_path):
    log.grow(300)
    await copied(log, copy)
    again = TileFolder(tmp_path / "again")
    assert (await copied(log, again, place=str(copy.root))).checkpoint.size == 300
    assert files(again) == files(copy)


async def test_only_what_is_new_is_read(log, copy):
    log.grow(300)
    await copied(log, copy)
    log.grow(600)
    (log.folder.root / "tile/entries/000").unlink()  # the copy has it
    assert (await copied(log, copy)).checkpoint.size == 600
    # Partial tiles that full ones take the place of are gone; others stay for who still reads under the old checkpoint.
    assert files(copy) == {"checkpoint", "tile/1/000.p/1"} | {tile.path for tile in tiles_of(600)}


async def test_a_ledger_is_copied_over_http_and_any_entry_proven_from_it(tmp_path, copy):
    async with ledger(tmp_path, admit=lambda _: None) as (life, _, url):
        entries = [b"%d" % number for number in range(260)]
        await life.sequencer.append_all(entries)
        rules = LogRules(life.sequencer.log, (life.witnesses[0].witness,), 1)
        async with open_source(url) as source:
            assert (await mirror(source, copy, rules)).checkpoint.size == 260
            for index in (0, 255, 256, 259):
                assert (await prove(source, index, rules))[0] == entries[index]
            with pytest.raises(UsageError, match="260 entries"):
                await prove(source, 260, rules)
    async with open_source(str(copy.root)) as source:
        assert (await prove(source, 7, rules))[0] == b"7"


def exchange_an_entry(log):
    log.folder.write("tile/entries/000.p/5", encode_entry_bundle([b"other", *log.log.entries[1:]]))


def leave_an_entry_out(log):
    log.folder.write("tile/entries/000.p/5", encode_entry_bundle([log.log.entries[0], *log.log.entries[:4]]))


@pytest.mark.parametrize("change", [exchange_an_entry, leave_an_entry_out])
async def test_entries_that_the_witnesses_did_not_see_are_no_copy(log, copy, change):
    change(log.grow(5))
    with pytest.raises(Refused, match=r"mirror\.entries"):
        await copied(log, copy)
    assert "checkpoint" not in files(copy)
    log.grow(5)
    assert (await copied(log, copy)).checkpoint.size == 5


async def test_another_history_leaves_the_copy_as_it_was(log, copy):
    log.grow(3)
    await copied(log, copy)
    log.log.entries[:] = [b"forked"]
    log.grow(5)
    with pytest.raises(Refused, match=r"mirror\.continuity"):
        await copied(log, copy)
    log.log.entries[:] = []
    log.grow(2)
    with pytest.raises(Refused, match=r"mirror\.continuity"):
        await copied(log, copy)
    assert copy.read("checkpoint", limit=10_000).splitlines()[1] == b"3"


async def test_a_copy_that_ended_half_way_is_the_one_of_before_and_is_taken_up(log, copy):
    log.grow(3)
    await copied(log, copy)
    log.grow(600)
    (log.folder.root / "tile/entries/001").rename(log.folder.root / "away")
    with pytest.raises(Unavailable, match="tile/entries/001 is not there"):
        await copied(log, copy)
    assert copy.read("checkpoint", limit=10_000).splitlines()[1] == b"3"
    (log.folder.root / "away").rename(log.folder.root / "tile/entries/001")
    assert (await copied(log, copy)).checkpoint.size == 600


async def test_a_folder_of_another_log_is_left_alone(log, copy, tmp_path):
    await copied(MadeLog(tmp_path / "other").grow(2), copy)
    with pytest.raises(UsageError, match="no copy of this log"):
        await copied(log.grow(3), copy)


async def test_a_tile_that_was_changed_proves_nothing(log):
    log.grow(300)
    log.folder.write("tile/0/000", bytes(8192))
    async with open_source(str(log.folder.root)) as source:
        with pytest.raises(Refused, match=r"proof\.inclusion"):
            await prove(source, 7, log.rules)


@pytest.mark.parametrize(("path", "data"), [("tile/entries/001.p/44", b"\0"), ("tile/0/001.p/44", bytes(9000))])
async def test_broken_files_are_unavailable(log, path, data):
    log.grow(300)
    log.folder.write(path, data)
    async with open_source(str(log.folder.root)) as source:
        with pytest.raises(Unavailable, match=r"broken|more than"):
            await prove(source, 290, log.rules)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("/nowhere/at/all", "neither"),
        ("ftp://log.example", "neither"),
        ("http://log.example/", "not on this machine"),
        ("https:///log", "is not the address"),
        ("http://127.0.0.1:1/?a=b", "is not the address"),
    ],
)
async def test_other_places_are_refused(place, sentence):
    with pytest.raises(UsageError, match=sentence):
        async with open_source(place):
            pass


async def test_a_server_that_does_not_answer_or_says_too_much_is_unavailable(log):
    app = Starlette(routes=[Route("/log/checkpoint", lambda _: Response(bytes(200_000)))])

    async with served(app) as url, open_source(f"{url}/log/") as source:
        with pytest.raises(Unavailable, match="more than 131072 bytes"):
            await prove(source, 0, log.rules)
        with pytest.raises(Unavailable, match="answered with 404"):
            await source.read("tile/0/000", limit=10)
    async with open_source("http://127.0.0.1:1") as source:
        with pytest.raises(Unavailable, match="cannot be read"):
            await source.read("checkpoint", limit=10)


def test_every_path_in_a_folder_is_a_tiles(log):
    log.grow(600)
    for path in files(log.folder) - {"checkpoint"}:
        assert parse_tile_path(path) in set(tiles_of(600))
    assert Tile(0, 0) in set(tiles_of(600))


def test_what_is_not_a_file_is_told(log, tmp_path):
    log.grow(1)
    (tmp_path / "log/folder").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        log.folder.read("folder", limit=1)
    assert log.folder.read("checkpoint/x", limit=1) is None
    assert asyncio.run(copied(log, TileFolder(tmp_path / "copy"))).checkpoint.size == 1
