import asyncio
import contextlib
import logging
import re

import pytest
from tests.doubles.http_peers import connected, echo, exchange_bytes, serving

from cloister.errors import Refused
from cloister.hosting.http_exchange import CutAnswer, Limits, Response
from cloister.hosting.http_message import Origin
from cloister.hosting.http_server import HttpServer
from cloister.hosting.loopback import listen

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def post(*headers, body=b""):
    return b"POST /x HTTP/1.1\r\nHost: h\r\n" + b"".join(line + b"\r\n" for line in headers) + b"\r\n" + body


def status(answer):
    return int(answer.split(b" ", 2)[1])


async def test_a_connection_serves_one_request_after_another():
    async with serving(echo) as origin:
        answer = await exchange_bytes(origin, GET, post(b"Content-Length: 2", body=b"hi"), LAST, pause=0.05)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert b"GET /x " in answer
    assert b"POST /x hi" in answer
    assert answer.endswith(b"GET /last ")
    assert answer.count(b"connection: close") == 1
    assert re.search(rb"date: \w{3}, \d\d \w{3} \d{4}", answer)


async def test_the_next_request_may_come_before_what_the_answer_came_from_was_closed():
    """A client has the whole answer, and does not wait for what the server does then."""
    closed = asyncio.Event()

    async def handler(request):
        async def close():
            await closed.wait()

        async def pieces():
            yield b"whole"

        return Response(200, (), pieces(), close=close) if request.target == "/x" else await echo(request)

    async with serving(handler) as origin, connected(origin) as (reader, writer):
        writer.write(GET)
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"5\r\nwhole\r\n0\r\n\r\n")
        writer.write(LAST)
        async with asyncio.timeout(5):
            answer = await reader.read()
        closed.set()
    assert answer.endswith(b"GET /last ")


async def test_a_body_in_chunks_split_anywhere_is_read_whole():
    message = post(
        b"Transfer-Encoding: chunked", b"Connection: close", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n"
    )
    async with serving(echo) as origin:
        assert (await exchange_bytes(origin, message)).endswith(b"POST /x abcde")
        assert (await exchange_bytes(origin, *(bytes([byte]) for byte in message))).endswith(b"POST /x abcde")


async def test_a_client_that_waits_for_100_continue_gets_it():
    async with serving(echo) as origin, connected(origin) as (reader, writer):
        writer.write(post(b"Content-Length: 2", b"Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert status(await reader.readuntil(b"\r\n\r\n")) == 200


async def test_a_head_request_gets_the_length_without_the_body():
    async with serving(echo) as origin:
        answer = await exchange_bytes(origin, LAST.replace(b"GET", b"HEAD"))
    assert b"content-length: 11\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (400, b"nonsense\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01"),
        (400, b"GET /x HTTP/1.1\r\n\r\n"),
        (400, b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (400, post(b"Content-Length: 2", b"Content-Length: 2", body=b"hi")),
        (400, post(b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
        (400, post(b"Transfer-Encoding: chunked", b"Content-Length: 2", body=b"0\r\n\r\n")),
        (400, post(b"Transfer-Encoding: gzip", body=b"hi")),
        (400, post(b"Content-Length: -1")),
        (400, post(b"Content-Length: 99999999999999999999999")),
        (400, post(b"Transfer-Encoding: chunked", body=b"zz\r\n")),
        (400, b"GET /x HTTP/1.1\nHost: h\n\n"),
        (505, b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n"),
        (413, post(b"Content-Length: 1001")),
        (413, post(b"Transfer-Encoding: chunked", body=b"3e9\r\n" + b"x" * 1001)),
        (431, b"GET /x HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 40_000 + b"\r\n\r\n"),
        (431, b"GET /x HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 101 + b"\r\n"),
        (431, b"GET /" + b"x" * 300_000),
    ],
)
async def test_what_is_malformed_or_too_large_is_answered_so_and_the_connection_closed(code, message):
    async with serving(echo, Limits(body_bytes=1000)) as origin:
        answer = await exchange_bytes(origin, message)
    assert status(answer) == code
    assert answer.count(b"\r\ndate: ") == 1
    assert b"content-type: application/problem+json\r\n" in answer
    assert b"connection: close\r\n" in answer


async def test_a_large_body_that_is_refused_unread_does_not_destroy_the_answer():
    async def refuse(request):
        raise Refused("some.check", "not today")

    async with serving(refuse) as origin:
        answer = await exchange_bytes(origin, post(b"Content-Length: 30000000"), *[b"x" * 1_000_000] * 30)
    assert status(answer) == 403
    assert b'"check":"some.check"' in answer


async def test_only_the_first_of_pipelined_requests_is_answered():
    async with serving(echo) as origin:
        answer = await exchange_bytes(origin, GET + LAST)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert answer.endswith(b"GET /x ")


async def test_a_fault_of_ours_is_a_500_whose_message_stays_out_of_answer_and_log(caplog):
    async def fail(request):
        int("canary")

    caplog.set_level(logging.DEBUG)
    async with serving(fail) as origin:
        answer = await exchange_bytes(origin, LAST)
    assert status(answer) == 500
    assert "ValueError at " in caplog.text
    assert "canary" not in caplog.text + answer.decode()


async def pieces(*values):
    for value in values:
        if isinstance(value, Exception):
            raise value
        yield value


async def test_a_streamed_answer_goes_in_chunks_or_under_its_length():
    async def stream(request):
        length = 5 if request.target == "/last" else None
        return Response(200, [], pieces(b"abc", b"", b"de"), length)

    async with serving(stream) as origin:
        answer = await exchange_bytes(origin, GET, LAST, pause=0.05)
    assert b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nHTTP/1.1 200 OK" in answer
    assert answer.endswith(b"content-length: 5\r\nconnection: close\r\n\r\nabcde")


@pytest.mark.parametrize(
    ("body", "length"),
    [((b"abc", ValueError("canary")), None), ((b"abc",), 5), ((b"abc", Refused("x.y", "canary")), None)],
)
async def test_a_streamed_answer_that_breaks_off_is_cut_never_ended(caplog, body, length):
    closed = asyncio.Event()

    async def stream(request):
        async def close():
            closed.set()

        return Response(200, [], pieces(*body), length, close)

    async with serving(stream) as origin, connected(origin) as (reader, writer):
        writer.write(GET)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(1000):
                received += data
    assert b"0\r\n\r\n" not in received
    assert closed.is_set()
    assert "canary" not in caplog.text


async def test_a_client_that_leaves_ends_the_handler():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request):
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with serving(wait) as origin:
        async with connected(origin) as (_, writer):
            writer.write(GET)
            await begun.wait()
        await asyncio.wait_for(ended.wait(), 2)


QUICK = Limits(idle_seconds=0.2, head_seconds=0.2, stall_seconds=0.2, body_seconds=1, write_seconds=0.3)


async def test_an_idle_connection_is_closed_without_a_word():
    async with serving(echo, QUICK) as origin:
        assert await exchange_bytes(origin) == b""
        assert (await exchange_bytes(origin, GET)).endswith(b"GET /x ")


@pytest.mark.parametrize("message", [b"GET /x HT", post(b"Content-Length: 2", body=b"h")])
async def test_a_request_that_does_not_come_is_a_408(message):
    async with serving(echo, QUICK) as origin:
        answer = await exchange_bytes(origin, message)
    assert status(answer) == 408
    assert b'"retry":true' in answer


async def test_a_body_that_trickles_is_a_408_in_the_end():
    async with serving(echo, QUICK) as origin:
        answer = await exchange_bytes(origin, post(b"Content-Length: 900"), *[b"x"] * 12, pause=0.1)
    assert status(answer) == 408


async def test_what_a_body_gave_before_it_had_to_end_arrives_and_then_the_connection_ends_without_its_end():
    gave = bytes(3_000_000)  # more than a socket takes at once

    async def ending():
        yield gave
        yield b"and why"
        raise CutAnswer("it cannot go on")

    async def handler(_request):
        return Response(200, [], ending())

    async with serving(handler) as origin:
        answer = await exchange_bytes(origin, GET)
    body = answer.partition(b"\r\n\r\n")[2]
    assert body == b"%x\r\n%b\r\n7\r\nand why\r\n" % (len(gave), gave)


async def test_a_client_that_does_not_read_is_cut_off():
    ended = asyncio.Event()

    async def flood(request):
        async def forever():
            while True:
                yield b"x" * 100_000

        async def close():
            ended.set()

        return Response(200, [], forever(), close=close)

    async with serving(flood, QUICK) as origin, connected(origin) as (_, writer):
        writer.write(GET)
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_slow_handler_lets_the_body_wait_with_its_sender():
    release = asyncio.Event()

    async def late(request):
        await release.wait()
        return Response(200, [], str(len(await request.body.read(20_000_000))).encode())

    async with serving(late) as origin, connected(origin) as (reader, writer):
        writer.write(post(b"Content-Length: 20000000", b"Connection: close", body=b"x" * 20_000_000))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)
        release.set()
        assert (await reader.read()).endswith(b"20000000")


async def test_connections_over_the_cap_are_cut_off():
    async with serving(echo, Limits(connections=1)) as origin, connected(origin) as _:
        await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionResetError):
            assert await exchange_bytes(origin, GET) == b""


async def test_a_stop_lets_requests_in_flight_end_and_closes_the_idle_ones():
    begun = asyncio.Event()

    async def slow(request):
        begun.set()
        await asyncio.sleep(0.3)
        return Response(200, [], b"done")

    server, listener = HttpServer(slow, Limits()), listen("127.0.0.1", 0)
    origin = Origin(*listener.getsockname())
    await server.start(listener)
    async with connected(origin) as (idle_reader, _), connected(origin) as (reader, writer):
        writer.write(GET)
        await begun.wait()
        await server.close(2)
        assert (await reader.read()).endswith(b"connection: close\r\n\r\ndone")
        assert await idle_reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(origin.host, origin.port)


async def test_a_stop_cuts_off_what_outlasts_its_grace():
    begun = asyncio.Event()

    async def endless(request):
        begun.set()
        await asyncio.sleep(60)

    server, listener = HttpServer(endless, Limits()), listen("127.0.0.1", 0)
    origin = Origin(*listener.getsockname())
    await server.start(listener)
    async with connected(origin) as (reader, writer):
        writer.write(GET)
        await begun.wait()
        await asyncio.wait_for(server.close(0.1), 1)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
