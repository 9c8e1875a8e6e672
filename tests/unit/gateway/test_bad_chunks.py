"""Chunks out of order, repeated, dropped, cut, altered or late, and claims of 10 GiB: each costs its sender alone.

While it goes on, another client's request is under way, and is answered as if nothing were.
"""

import contextlib

import pytest
from tests.doubles.chunked_client import HEAD
from tests.doubles.chunked_gateway import world
from tests.doubles.http_peers import connected
from tests.doubles.sealed_client import request

from cloister.formats import varint
from cloister.formats.binary_http import Framing, encode_head
from cloister.formats.binary_http_stream import content, finish
from cloister.hosting.http_inbound_state import InboundLimits

CLAIM = 10 * 2**30  # bytes


def flipped(chunk):
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


ORDERS = {
    "out of order": lambda chunks: [chunks[0], chunks[2], chunks[1], *chunks[3:]],
    "the last before the first": lambda chunks: [chunks[-1], *chunks[:-1]],
    "repeated": lambda chunks: [*chunks[:2], chunks[1], *chunks[2:]],
    "dropped": lambda chunks: [chunks[0], *chunks[2:]],
    "cut between chunks": lambda chunks: chunks[:-1],
    "cut in a chunk": lambda chunks: [*chunks[:-1], chunks[-1][:-1]],
    "altered": lambda chunks: [*chunks[:2], flipped(chunks[2]), *chunks[3:]],
    "a chunk that claims 10 GiB": lambda chunks: [chunks[0], varint.encode(CLAIM), *chunks[1:]],
}


def sealed_chunks(client):
    """A whole request, chunk by chunk."""
    parts = [encode_head(request(), framing=Framing.INDETERMINATE_LENGTH), *map(content, (b"one", b"two", b"three"))]
    return [*map(client.sealer.seal, parts), client.sealer.finish(finish())]


@contextlib.asynccontextmanager
async def another_beside(here):
    """A second client whose request is under way meanwhile, and is answered afterwards."""
    async with here.client() as other:
        other.begin(request())
        await other.more(b"so")
        yield
        await other.more(b"und")
        other.end()
        assert (await other.answer())[2] == b"sound"
    assert here.engine.bodies == [b"sound"]
    assert here.memory.held == 0


@pytest.mark.parametrize("order", ORDERS)
async def test_a_message_whose_chunks_are_not_as_they_were_sealed_is_refused_and_reaches_no_engine(tmp_path, order):
    async with world(tmp_path) as here, another_beside(here), here.client() as client:
        for chunk in ORDERS[order](sealed_chunks(client)):
            client.send(chunk)
        client.cut()
        assert await client.head() == (413 if "10 GiB" in order else 400, "application/problem+json")
        assert here.engine.heads == here.receipts.sealed == []


async def test_a_message_that_claims_10_gib_within_its_seal_is_refused(tmp_path):
    async with world(tmp_path) as here, another_beside(here), here.client() as client:
        client.begin(request())
        client.send(client.sealer.seal(varint.encode(CLAIM) + b"so"))
        status, _, told, _ = await client.answer()
        assert (status, b"over its cap" in told) == (413, True)
        assert here.engine.heads == []


async def test_a_body_that_claims_10_gib_is_refused_before_it_came(tmp_path):
    begun = HEAD.replace(b"transfer-encoding: chunked", b"content-length: %d" % CLAIM)
    async with world(tmp_path) as here, another_beside(here), connected(here.origin) as (reader, writer):
        writer.write(begun)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")
        assert here.engine.heads == []


async def test_chunks_that_are_late_are_waited_for_as_long_as_they_may_be_and_keep_nobody_waiting(tmp_path):
    async with world(tmp_path, http=InboundLimits(stall_seconds=0.3)) as here, here.client() as late:
        late.begin(request())
        await late.more(b"so")
        async with here.client() as other:
            other.begin(request())
            await other.more(b"sound")
            other.end()
            assert (await other.answer())[2] == b"sound"
        assert (await late.head())[0] == 408
        assert here.engine.bodies == [b"sound"]
        assert here.memory.held == 0
