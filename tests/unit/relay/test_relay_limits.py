"""What a relay bears: of one client, of all, of slow ones, and of gateways that are down or talk nonsense."""

import asyncio
import contextlib
import json

import pytest
from tests.doubles.certificates import Authority
from tests.doubles.http_peers import connected, exchange_bytes, serving
from tests.doubles.open_sockets import Silent
from tests.doubles.relays import relay_before
from tests.doubles.sealed_exchanges import (
    ANSWER,
    CLOSING,
    POST,
    SEALED,
    ask,
    one_answer,
    relayed,
)

from cloister.hosting.http_exchange import Response


async def test_more_requests_than_a_client_may_make_are_a_429_that_says_when_and_the_connection_lives_on():
    async with relayed(client_rate=2.0, client_burst=2) as relay, connected(relay) as connection:
        assert [(await ask(connection))[0] for _ in range(2)] == [200, 200]
        status, headers, body = await ask(connection)
        assert (status, headers[b"content-type"], headers[b"retry-after"]) == (429, b"application/problem+json", b"1")
        assert json.loads(body)["retry"]
        assert b"connection" not in headers
        await asyncio.sleep(1.0)
        assert (await ask(connection))[0] == 200


async def test_more_at_a_time_than_a_client_or_all_may_have_is_a_429_or_a_503():
    gate = asyncio.Event()

    async def wait(request):
        await gate.wait()
        return ANSWER

    for code, settings in ((429, {"client_requests": 1}), (503, {"requests": 1})):
        gate.clear()
        async with relayed(wait, **settings) as relay, connected(relay) as first, connected(relay) as second:
            first[1].write(SEALED)
            await asyncio.sleep(0.05)
            status, headers, _ = await ask(second)
            assert (status, headers[b"retry-after"]) == (code, b"1")
            gate.set()
            assert (await one_answer(first[0]))[0] == 200
            assert (await ask(second))[0] == 200


async def test_one_connection_more_than_a_client_may_have_is_told_so():
    async with relayed(client_connections=1) as relay, connected(relay) as first:
        assert (await ask(first))[0] == 200
        assert (await exchange_bytes(relay, SEALED)).startswith(b"HTTP/1.1 429 ")
        assert (await ask(first))[0] == 200


async def test_under_pressure_the_longest_idle_connection_leaves():
    async with relayed(connections=2) as relay, connected(relay) as first, connected(relay) as second:
        assert (await ask(first))[0] == 200
        await asyncio.sleep(0.3)
        assert (await ask(second))[0] == 200
        async with connected(relay) as third:
            assert (await ask(third))[0] == 200
            assert await asyncio.wait_for(first[0].read(), 2) == b""
            assert (await ask(second))[0] == 200


async def test_where_no_connection_is_idle_the_new_one_is_told_to_come_back():
    async def never(request):
        await asyncio.sleep(60)

    async with relayed(never, connections=1) as relay, connected(relay) as first:
        first[1].write(SEALED)
        await asyncio.sleep(0.05)
        assert (await exchange_bytes(relay, SEALED)).startswith(b"HTTP/1.1 503 ")


async def test_behind_a_trusted_front_end_each_forwarded_address_is_a_client():
    settings = {"client_rate": 0.1, "client_burst": 1, "trusted_proxies": ("127.0.0.0/8",)}
    async with relayed(**settings) as relay, connected(relay) as connection:

        async def as_client(address):
            request = SEALED.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 6.6.6.6, %b\r\n\r\n" % address)
            return (await ask(connection, request))[0]

        assert [await as_client(b"192.0.2.1") for _ in range(2)] == [200, 429]
        assert await as_client(b"192.0.2.2") == 200


async def test_from_anyone_else_a_forwarded_address_counts_for_nothing():
    async with relayed(client_rate=0.1, client_burst=1) as relay, connected(relay) as connection:
        for address, code in ((b"192.0.2.1", 200), (b"192.0.2.2", 429)):
            request = SEALED.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: %b\r\n\r\n" % address)
            assert (await ask(connection, request))[0] == code


async def test_a_head_that_crawls_is_a_408():
    async with relayed(head_seconds=0.2) as relay:
        assert (await exchange_bytes(relay, b"POST / HTTP/1.1\r\nHost: h\r\n")).startswith(b"HTTP/1.1 408 ")


async def test_a_body_below_the_slowest_rate_is_a_408_though_it_never_stops():
    async with relayed(rate_seconds=0.4, minimum_rate=1000) as relay, connected(relay) as (reader, writer):
        writer.write(POST + b"Content-Length: 1000000\r\n\r\n")
        for _ in range(40):
            writer.write(b"x")
            await asyncio.sleep(0.02)
        assert (await one_answer(reader))[0] == 408


async def test_an_answer_that_is_not_taken_is_cut_and_frees_the_gateway():
    left = asyncio.Event()

    async def endless(request):
        async def pieces():
            while True:
                yield b"x" * 65_536

        async def close():
            left.set()

        return Response(200, ANSWER.headers, pieces(), close=close)

    async with relayed(endless, rate_seconds=0.4) as relay, connected(relay) as (_reader, writer):
        writer.transport.pause_reading()
        writer.write(SEALED)
        await asyncio.wait_for(left.wait(), 5)


async def test_an_idle_connection_is_closed():
    async with relayed(idle_seconds=0.2) as relay, connected(relay) as (reader, _writer):
        assert await asyncio.wait_for(reader.read(), 3) == b""


async def test_chunked_messages_stream_both_ways_as_they_come():
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    said: asyncio.Queue[bytes] = asyncio.Queue()

    async def converse(request):
        assert dict(request.headers)[b"content-type"] == b"message/ohttp-chunked-req"

        async def pieces():
            async for piece in request.body:
                await heard.put(piece)
                yield await said.get()

        return Response(200, [(b"content-type", b"message/ohttp-chunked-res")], pieces())

    async with relayed(converse) as relay, connected(relay) as (reader, writer):
        writer.write(POST.replace(b"ohttp-req", b"ohttp-chunked-req") + b"Transfer-Encoding: chunked\r\n\r\n")
        for word in (b"one", b"two"):
            writer.write(b"3\r\n%b\r\n" % word)
            assert await asyncio.wait_for(heard.get(), 5) == word
            await said.put(word.upper())
            assert (await asyncio.wait_for(reader.readuntil(word.upper() + b"\r\n"), 5)).endswith(
                b"3\r\n%b\r\n" % word.upper()
            )
        writer.write(b"0\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5) == b"0\r\n\r\n"


async def test_an_answer_before_the_request_is_whole_is_passed_on_and_ends_the_connection():
    async def refuse(request):
        return Response(413, [(b"content-type", b"application/problem+json")], b"{}")

    async with relayed(refuse) as relay:
        got = await exchange_bytes(relay, POST + b"Content-Length: 100\r\n\r\nhalf")
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in got


async def test_a_client_that_waits_for_it_is_told_to_send_its_body():
    async with relayed() as relay, connected(relay) as (reader, writer):
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 6\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"sealed")
        assert (await one_answer(reader))[0] == 200


async def test_a_second_request_before_the_first_is_answered_is_not_read():
    async with relayed() as relay:
        got = await exchange_bytes(relay, SEALED + SEALED)
    assert got.count(b"HTTP/1.1 ") == 1
    assert got.startswith(b"HTTP/1.1 200 ")


async def test_a_stop_finishes_what_is_under_way_and_closes_what_is_idle():
    gate = asyncio.Event()

    async def wait(request):
        await gate.wait()
        return ANSWER

    async with serving(wait, grace_seconds=0) as gateway, contextlib.AsyncExitStack() as stack:
        relay = await stack.enter_async_context(relay_before(gateway, grace_seconds=5))
        async with connected(relay) as busy, connected(relay) as idle:
            busy[1].write(SEALED)
            await asyncio.sleep(0.05)
            stopping = asyncio.create_task(stack.aclose())
            assert await asyncio.wait_for(idle[0].read(), 2) == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(relay.host, relay.port)
            gate.set()
            status, headers, body = await one_answer(busy[0])
            assert (status, headers[b"connection"], body) == (200, b"close", ANSWER.body)
            await asyncio.wait_for(stopping, 5)


async def test_relay_processes_share_a_port_and_one_that_stops_leaves_it_to_the_others():
    counts = [0, 0]

    def counting(which):
        async def handler(request):
            counts[which] += 1
            return ANSWER

        return handler

    async with relayed(counting(0), shared_port=True) as first:
        async with relayed(counting(1), shared_port=True, port=first.port) as second:
            assert second == first
            for _ in range(40):
                assert (await exchange_bytes(first, CLOSING)).startswith(b"HTTP/1.1 200 ")
            assert min(counts) > 0
        for _ in range(10):
            assert (await exchange_bytes(first, CLOSING)).startswith(b"HTTP/1.1 200 ")
    assert sum(counts) == 50


async def test_nothing_of_a_client_is_logged(caplog, capfd):
    async with relayed(client_rate=0.1, client_burst=1) as relay, connected(relay) as connection:
        await ask(connection)
        await ask(connection)
        await exchange_bytes(relay, b"canary\r\n\r\n")
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("settings", [{"connections": 2}, {"client_connections": 2}])
async def test_of_those_told_that_there_are_too_many_connections_no_more_stay_than_there_may_be(settings):
    async def never(request):
        await asyncio.sleep(60)

    async with relayed(never, **settings) as relay:
        with Silent(relay) as clients:
            await clients.connect(2, POST + b"Content-Length: 6\r\n\r\n")  # under way
            await asyncio.sleep(0.1)
            with_gateways = clients.held()
            await clients.connect(20)
            assert clients.held() <= with_gateways + 2


async def whole(connection):
    """Everything that a relay says on a connection until it is silent."""
    found = b""
    with contextlib.suppress(TimeoutError):
        while data := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 1_000_000), 0.5):
            found += data
    return found


async def test_who_has_yet_to_take_an_answer_is_not_sent_away_for_another():
    large = Response(200, [(b"content-type", b"application/vnd.cloister.key-bundle+cbor")], bytes(8_000_000))

    async def kms(request):
        return large

    async with serving(kms, grace_seconds=0) as origin, relayed(bundle=f"{origin}/", connections=1) as relay:
        with Silent(relay) as clients:
            await clients.connect(1, b"GET /bundle HTTP/1.1\r\nHost: h\r\n\r\n")
            await asyncio.sleep(0.5)
            assert (await exchange_bytes(relay, SEALED)).startswith(b"HTTP/1.1 503 ")


async def test_a_tls_handshake_that_does_not_come_is_ended_and_of_others_the_longest_makes_room(tmp_path):
    tls = Authority(tmp_path).server("relay")
    async with relayed(tls=tls, connections=2, head_seconds=1.0) as relay:
        with Silent(relay) as strangers:
            await strangers.connect(8)
            await strangers.become(2, seconds=0.8)
            await strangers.become(0)
