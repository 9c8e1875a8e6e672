"""Requests and answers in sealed chunks, over real sockets, with an engine that streams."""

import asyncio
import contextlib
import json

import pytest
from tests.doubles.chunked_gateway import EVENTS, world
from tests.doubles.http_peers import connected
from tests.doubles.sealed_client import EPOCH, NOON, request
from tests.doubles.served_gateway import Receipts

from cloister.crypto.hpke import X_WING, KemPrivateKey
from cloister.errors import MalformedInput
from cloister.formats.binary_http import Framing, encode_head
from cloister.formats.binary_http_stream import finish
from cloister.formats.contract import Endpoint
from cloister.formats.key_config import KeyConfig
from cloister.hosting.http_inbound_state import InboundLimits
from cloister.ohttp.chunked import encapsulate
from cloister.ohttp.padding import ANSWER_FLOOR
from cloister.services.gateway.engines import QueueLimits

ENDPOINT = Endpoint(method="POST", path="/v1/audio/transcriptions")


async def until(holds):
    """Wait for what happens in the gateway, which sets no event."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def upload(client, data):
    """In chunks, as far as the gateway takes them."""
    for at in range(0, len(data), 60_000):
        await client.more(data[at : at + 60_000])


async def ask(here, *pieces, **changes):
    async with here.client() as client:
        client.begin(request(**changes))
        for piece in pieces:
            await client.more(piece)
        client.end()
        return await client.answer()


async def test_a_request_in_chunks_reaches_the_engine_and_a_whole_answer_comes_back_as_one_message(tmp_path):
    async with world(tmp_path) as here, here.client() as client:
        client.begin(request())
        await client.more(b"so")
        await client.more(b"und")
        client.end()
        answer = await client.answer()
    assert answer == (200, {"content-type": "text/plain"}, b"sound", {"cloister-receipt": "receipt"})
    assert not client.streamed
    assert here.engine.bodies == [b"sound"]
    assert here.receipts.sealed == [(EPOCH, "/v1/audio/transcriptions", 200)]


async def test_events_come_as_the_engine_says_them_and_the_receipt_at_their_end(tmp_path):
    async with world(tmp_path) as here, here.client() as client:
        here.engine.stream = True
        here.engine.go_on.clear()
        client.begin(request())
        client.end()
        assert (await client.head())[0] == 200
        assert client.streamed
        first = b""
        while EVENTS[0] not in first:
            first += await client.read()
        assert EVENTS[1] not in first
        here.engine.go_on.set()
        while not client.decoder.ended:
            first += await client.read()
    assert first == b"".join(EVENTS)
    assert client.decoder.trailers == (("cloister-receipt", "receipt"),)


async def test_a_request_that_is_cut_never_reaches_the_engine(tmp_path):
    async with world(tmp_path) as here, here.client() as client:
        client.begin(request())
        await client.more(b"sou")
        client.cut()
        assert await client.head() == (400, "application/problem+json")
        assert here.engine.heads == here.receipts.sealed == []
        here.engine.left.set()


async def test_clients_that_send_slowly_keep_no_engine_from_one_that_does_not(tmp_path):
    async with world(tmp_path, connections=2) as here, contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            slow = await stack.enter_async_context(here.client())
            slow.begin(request())
            await slow.more(bytes(60_000))
        for _ in range(3):
            async with asyncio.timeout(2):
                assert (await ask(here, b"so", b"und"))[2] == b"sound"
        assert len(here.engine.heads) == 3


async def test_engines_are_given_in_the_order_in_which_requests_became_whole(tmp_path):
    async with world(tmp_path, connections=1) as here, here.client() as slow:
        here.engine.go_on.clear()
        slow.begin(request())
        await slow.more(b"begun first")
        first = asyncio.create_task(ask(here, b"1"))
        await here.engine.was_asked()
        second = asyncio.create_task(ask(here, b"2"))
        await asyncio.sleep(0.1)
        slow.end()
        await asyncio.sleep(0.1)
        here.engine.go_on.set()
        assert [(await first)[2], (await second)[2], (await slow.answer())[2]] == [b"1", b"2", b"begun first"]
        assert here.engine.bodies == [b"1", b"2", b"begun first"]


async def test_what_a_client_that_leaves_has_sent_is_held_no_more(tmp_path):
    async with world(tmp_path) as here:
        async with here.client() as client:
            client.begin(request())
            await client.more(bytes(60_000))
            await until(lambda: here.memory.held == 60_000)
        await until(lambda: here.memory.held == 0)
        here.engine.left.set()


async def test_what_was_opened_is_wiped_once_the_engine_has_it(tmp_path):
    async with world(tmp_path) as here, here.client() as client:
        opened = here.gateway._shared.opened
        client.begin(request())
        await client.more(b"sound" * 10_000)
        await until(lambda: here.memory.held == 50_000)
        body = next(iter(here.memory._arriving))._body
        (held,) = body.views
        assert held == b"sound" * 10_000
        assert not any(opened)
        client.end()
        assert (await client.answer())[2] == b"sound" * 10_000
        assert not any(held)
        assert not any(opened)


async def test_what_an_engine_has_taken_is_held_no_more_while_it_works(tmp_path):
    async with world(tmp_path) as here:
        here.engine.go_on.clear()
        asking = asyncio.create_task(ask(here, bytes(60_000)))
        await here.engine.was_asked()
        await until(lambda: here.memory.held == 0)
        here.engine.go_on.set()
        assert (await asking)[2] == bytes(60_000)


async def test_where_memory_is_short_a_large_request_that_comes_slowly_gives_way_to_others(tmp_path):
    large = bytes(1_200_000)
    async with world(tmp_path, memory_bytes=2_000_000, patience_seconds=0.2) as here, here.client() as slow:
        slow.begin(request())
        await upload(slow, large)
        async with here.client() as early:
            early.begin(request())
            await upload(early, large)
            assert await early.head() == (503, "application/problem+json")
        await asyncio.sleep(0.3)
        async with here.client() as late:
            late.begin(request())
            await upload(late, large)
            late.end()
            assert (await late.answer())[2] == large
        assert await slow.head() == (503, "application/problem+json")
        await until(lambda: here.memory.held == 0)


async def test_a_request_that_alone_is_over_what_may_be_held_leaves_nothing_behind(tmp_path):
    async with world(tmp_path, memory_bytes=2_000_000, patience_seconds=0) as here, here.client() as client:
        client.begin(request())
        await upload(client, bytes(2_400_000))
        assert await client.head() == (503, "application/problem+json")
        await until(lambda: here.memory.held == 0)
        here.engine.left.set()


async def test_where_memory_is_short_a_small_request_that_comes_slowly_need_not_give_way(tmp_path):
    async with world(tmp_path, memory_bytes=2_000_000, patience_seconds=0) as here, here.client() as small:
        small.begin(request())
        await upload(small, bytes(900_000))
        async with here.client() as large:
            large.begin(request())
            await upload(large, bytes(1_200_000))
            assert await large.head() == (503, "application/problem+json")
        small.end()
        assert (await small.answer())[2] == bytes(900_000)


async def test_a_client_that_leaves_in_the_middle_of_a_stream_takes_the_engines_connection_along(tmp_path):
    async with world(tmp_path) as here:
        here.engine.stream = True
        here.engine.go_on.clear()
        async with here.client() as client:
            client.begin(request())
            client.end()
            await client.head()
            await client.read()
        here.engine.go_on.set()
        await asyncio.wait_for(here.engine.left.wait(), 10)


@contextlib.asynccontextmanager
async def streaming(here):
    """A client that has the head of an answer that never ends, and has read nothing else."""
    here.engine.stream = here.engine.endless = True
    async with here.client() as client:
        client.begin(request())
        client.end()
        assert (await client.head())[0] == 200
        yield client


async def reads(client, size, *, a_second):
    """Read so many bytes at that rate, whatever they say, as far as they come."""
    for _ in range(0, size, 50_000):
        if not await client.reader.read(50_000):
            return
        await asyncio.sleep(50_000 / a_second)


async def test_a_client_that_reads_nothing_of_a_stream_loses_its_engine(tmp_path):
    http = InboundLimits(write_seconds=0.3)
    async with world(tmp_path, http=http) as here, streaming(here):
        await asyncio.wait_for(here.engine.left.wait(), 10)
    assert here.engine.said < 30_000_000  # what the kernel's buffers take, and ours


async def test_a_client_that_reads_a_stream_more_slowly_than_it_must_loses_its_engine(tmp_path):
    http = InboundLimits(write_seconds=0.5, minimum_rate=10**9)
    async with world(tmp_path, http=http) as here, streaming(here) as client:
        reading = asyncio.create_task(reads(client, 10**9, a_second=2_000_000))
        await asyncio.wait_for(here.engine.left.wait(), 10)
        reading.cancel()


async def test_a_client_that_reads_a_stream_as_fast_as_it_must_keeps_its_engine(tmp_path):
    http = InboundLimits(write_seconds=0.5, minimum_rate=50_000)
    async with world(tmp_path, http=http) as here:
        async with streaming(here) as client:
            await reads(client, 4_000_000, a_second=4_000_000)
            assert not here.engine.left.is_set()
        await asyncio.wait_for(here.engine.left.wait(), 10)


async def test_a_stream_that_never_ends_is_cut_when_the_engines_time_is_over_however_it_is_read(tmp_path):
    async with world(tmp_path, queue=QueueLimits(engine_seconds=0.5)) as here, streaming(here) as client:
        reading = asyncio.create_task(reads(client, 10**9, a_second=10_000_000))
        await asyncio.wait_for(here.engine.left.wait(), 10)
        reading.cancel()


async def test_a_stream_that_breaks_off_is_cut_and_never_ends_as_a_whole_one(tmp_path):
    async with world(tmp_path) as here, here.client() as client:
        here.engine.stream = here.engine.breaks_off = True
        client.begin(request())
        client.end()
        await client.head()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.rest()
    assert here.receipts.sealed == []


async def test_nothing_reaches_the_engine_before_date_replay_and_endpoint_were_held_against_the_rules(tmp_path):
    async with world(tmp_path) as here:
        status, headers, body, trailers = await ask(here, b"x", date=NOON - 5000)
        assert (status, headers["date"], trailers) == (400, "Fri, 15 Jan 2027 08:00:00 GMT", {})
        status, _, body, trailers = await ask(here, b"x", path="/v1/other")
        assert (status, json.loads(body)["error"]["type"]) == (404, "invalid_request_error")
        assert trailers == {"cloister-receipt": "receipt"}
        assert here.engine.heads == []
        here.engine.left.set()


async def test_the_same_sealed_chunks_are_answered_once(tmp_path):
    async with world(tmp_path) as here:
        async with here.client() as client:
            recorded = [client.sealer.seal(encode_head(request(), framing=Framing.INDETERMINATE_LENGTH))]
            recorded.append(client.sealer.finish(finish()))
            for data in recorded:
                client.send(data)
            client.cut()
            assert (await client.answer())[0] == 200
        async with connected(here.origin) as (reader, writer):
            sent = b"".join([client.sealer.head, *recorded])
            writer.write(
                b"POST /gateway HTTP/1.1\r\nhost: gateway\r\ncontent-type: message/ohttp-chunked-req\r\n"
                b"content-length: %d\r\n\r\n" % len(sent) + sent
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
        assert len(here.engine.heads) == 1


async def test_a_key_that_is_unknown_or_does_not_open_is_told_in_the_clear(tmp_path):
    other = KemPrivateKey.generate(X_WING)
    async with world(tmp_path) as here:
        for config in (KeyConfig(8, X_WING, other.public), KeyConfig(7, X_WING, other.public)):
            async with here.client(config) as client:
                client.begin(request())
                client.end()
                assert await client.head() == (400, "application/problem+json")
        here.engine.left.set()


@pytest.mark.parametrize("behind", [b"", b"\x20" + bytes(32)], ids=["cut", "altered"])
async def test_what_was_refused_by_its_first_chunk_is_answered_once_whatever_is_behind_it(tmp_path, behind):
    async with world(tmp_path) as here, connected(here.origin) as (reader, writer):
        sealer, _ = encapsulate(here.keys.config)
        sent = (
            sealer.head
            + sealer.seal(encode_head(request(date=NOON - 5000), framing=Framing.INDETERMINATE_LENGTH))
            + behind
        )
        head = b"POST /gateway HTTP/1.1\r\nhost: g\r\ncontent-type: message/ohttp-chunked-req\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(sent) + sent)
        for media_type in ("message/ohttp-chunked-res", "application/json"):
            answer = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
            assert f"content-type: {media_type}\r\n" in answer
            await reader.readexactly(int(answer.split("content-length: ")[1].split("\r\n")[0]))
            writer.write(b"GET /health HTTP/1.1\r\nhost: g\r\n\r\n")
        here.engine.left.set()


async def test_a_long_upload_reaches_a_slow_engine_whole(tmp_path):
    sound = bytes(range(256)) * 8_000
    async with world(tmp_path) as here, here.client() as client:
        here.engine.reads.clear()
        client.begin(request())
        await upload(client, sound)
        client.end()
        await here.engine.was_asked()
        assert here.memory.held == len(sound)
        here.engine.reads.set()
        assert (await client.answer())[2] == sound
        assert here.memory.held == 0


async def test_where_all_engines_work_and_as_many_wait_as_may_the_next_is_told_429(tmp_path):
    queue = QueueLimits(waiting=1, waiting_seconds=0.3)
    async with world(tmp_path, connections=1, queue=queue) as here:
        here.engine.go_on.clear()
        first = asyncio.create_task(ask(here, b"1"))
        await here.engine.was_asked()
        second = asyncio.create_task(ask(here, b"2"))
        await asyncio.sleep(0.1)
        status, headers, body, trailers = await ask(here, b"3")
        assert (status, headers["x-should-retry"], headers["retry-after"]) == (429, "true", "5")
        assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
        assert trailers == {"cloister-receipt": "receipt"}
        assert (await second)[0] == 429  # it waited its time
        here.engine.go_on.set()
        assert (await first)[:3:2] == (200, b"1")


async def test_a_form_that_is_none_is_told_so_and_never_ends_at_the_engine(tmp_path):
    receipts = Receipts()
    async with world(tmp_path, receipts=receipts) as here:
        receipts.error = MalformedInput("no boundary")
        status, _, body, trailers = await ask(here, b"x")
        assert (status, trailers) == (400, {})
        assert json.loads(body)["error"]["type"] == "invalid_request_error"
        here.engine.left.set()


async def test_a_short_answer_and_every_error_have_one_length_in_chunks_too(tmp_path):
    lengths = set()
    async with world(tmp_path) as here:
        for changes in ({}, {"path": "/v1/other"}, {"method": "GET"}, {"date": None}, {"date": NOON - 4000}):
            async with here.client() as client:
                client.begin(request(**changes))
                client.end()
                await client.answer()
            lengths.add(sum(client.sizes))
    assert lengths == {16 + 1 + ANSWER_FLOOR + 16}


async def test_what_a_stream_ends_with_is_padded_with_all_before_it(tmp_path):
    async with world(tmp_path) as here, here.client() as client:
        here.engine.stream = True
        client.begin(request())
        client.end()
        await client.answer()
    *before, last, _ = client.sizes
    assert len(before) >= 3
    inside = sum(before) - 16 - len(before) * (1 + 16)  # nonce; length and tag of each
    assert inside + last - 1 - 16 == ANSWER_FLOOR
