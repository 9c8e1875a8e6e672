"""The log as static files over HTTP: what any web client reads, and what it may keep for good."""

import aiohttp
import pytest
from tests.unit.ledger.test_routes import ledger, statement

from cloister.crypto.merkle import leaf_hash, root
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.tile import ENTRIES, Tile, encode_entry_bundle, parse_entry_bundle, parse_hashes
from cloister.formats.tlog_proof import parse_tlog_proof
from cloister.ledger.log_rules import LogRules
from cloister.ledger.proofs import examine_proof


async def get(url, path):
    async with aiohttp.ClientSession() as session, session.get(f"{url}/{path}") as response:
        return response.status, response.headers, await response.read()


async def appended(client, count):
    entries = [statement(number) for number in range(count)]
    for entry in entries:
        await client.append(entry)
    return entries


async def test_every_tile_and_bundle_is_served_as_the_specification_says(tmp_path):
    async with ledger(tmp_path) as (_, client, url):
        entries = await appended(client, 3)
        for width in (1, 2, 3):
            status, headers, data = await get(url, f"tile/0/000.p/{width}")
            assert (status, headers["content-type"]) == (200, "application/octet-stream")
            assert headers["cache-control"] == "public, max-age=31536000, immutable"
            assert parse_hashes(data, Tile(0, 0, width)) == tuple(map(leaf_hash, entries[:width]))
            _, headers, data = await get(url, f"tile/entries/000.p/{width}")
            assert headers["cache-control"] == "public, max-age=31536000, immutable"
            assert parse_entry_bundle(data, Tile(ENTRIES, 0, width)) == tuple(entries[:width])


async def test_the_checkpoint_is_not_kept_by_caches(tmp_path):
    async with ledger(tmp_path) as (_, client, url):
        entries = await appended(client, 2)
        status, headers, note = await get(url, "checkpoint")
        assert (status, headers["cache-control"]) == (200, "no-cache")
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert parse_checkpoint(parse_note(note).text).root == root(list(map(leaf_hash, entries)))


@pytest.mark.parametrize(
    "path",
    ["tile/0/000", "tile/0/000.p/4", "tile/entries/000.p/4", "tile/1/000.p/1", "tile/0/001.p/1", "tile/x", "tile/"],
)
async def test_what_is_not_there_yet_is_not_kept_as_absent(tmp_path, path):
    async with ledger(tmp_path) as (_, client, url):
        await appended(client, 3)
        status, headers, _ = await get(url, path)
        assert (status, headers["cache-control"]) == (404, "no-store")
        assert headers["content-type"] == "application/problem+json"


async def test_nothing_is_served_that_no_quorum_cosigned(tmp_path):
    async with ledger(tmp_path) as (life, client, url):
        await appended(client, 1)
        life.witnesses[0].down = True
        with pytest.raises(Exception, match="cosigned"):
            await client.append(statement(1))
        assert (await get(url, "tile/0/000.p/2"))[0] == 404
        assert (await get(url, "tile/entries/000.p/2"))[0] == 404
        life.witnesses[0].down = False
        await client.append(statement(1))
        assert (await get(url, "tile/entries/000.p/2"))[0] == 200


async def test_an_entry_that_was_exchanged_in_the_database_with_its_digest_is_not_served(tmp_path):
    async with ledger(tmp_path) as (life, client, url):
        entries = await appended(client, 2)

        async def exchanged(start, end, *, limit):
            return [statement(99), *entries[1:]][start:end]

        life.sequencer._store.entries = exchanged
        for path in ("tile/entries/000.p/2", "entries?start=0&end=2", "entries/0/statement"):
            status, _, body = await get(url, path)
            assert status == 500
            assert b"entry 0 is not the one that was cosigned" in body
        assert (await get(url, "entries?start=1&end=2"))[0] == 200


async def test_a_log_of_more_than_one_tile_is_served_whole(tmp_path):
    async with ledger(tmp_path, admit=lambda _: None) as (life, _, url):
        entries = [b"%d" % number for number in range(300)]
        await life.sequencer.append_all(entries)
        assert (await get(url, "tile/entries/000"))[2] == encode_entry_bundle(entries[:256])
        assert (await get(url, "tile/entries/001.p/44"))[2] == encode_entry_bundle(entries[256:])
        leaves = list(map(leaf_hash, entries))
        assert (await get(url, "tile/0/000"))[2] == b"".join(leaves[:256])
        assert (await get(url, "tile/1/000.p/1"))[2] == root(leaves[:256])


async def test_a_proof_that_stands_by_itself_is_served(tmp_path):
    async with ledger(tmp_path) as (life, client, url):
        entries = await appended(client, 4)
        status, headers, data = await get(url, "entries/2/proof")
        assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
        rules = LogRules(life.sequencer.log, (life.witnesses[0].witness,), 1)
        assert examine_proof(parse_tlog_proof(data), entries[2], rules).require().index == 2
        assert (await get(url, "entries/4/proof"))[0] == 400
