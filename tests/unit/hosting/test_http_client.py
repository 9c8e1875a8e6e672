import asyncio
import contextlib
import socket

import pytest
from tests.doubles.http_peers import echo, serving

from cloister.errors import MalformedInput, Unavailable, UsageError
from cloister.hosting.http_client import IDLE_SECONDS, BadReply, HttpClient
from cloister.hosting.http_connection import PeerLeft, SlowPeer
from cloister.hosting.http_exchange import Limits, Response
from cloister.hosting.http_message import Origin
from cloister.hosting.http_server import HttpServer
from cloister.hosting.service_limits import ServiceLimits


@contextlib.asynccontextmanager
async def client_of(origin, **options):
    client = HttpClient(origin, **options)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def saying(*pieces):
    """The origin of a peer that answers every connection with these bytes, then closes it."""

    answering: set[asyncio.Task[None]] = set()

    async def answer(reader, writer):
        if task := asyncio.current_task():
            answering.add(task)
        with contextlib.suppress(ConnectionResetError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield Origin("127.0.0.1", server.sockets[0].getsockname()[1])
        await asyncio.gather(*answering)


async def ask(client, body=b"", *, method=b"POST", seconds=2, **options):
    async with client.exchange(method, b"/x", [(b"x-a", b"b")], body, seconds=seconds, **options) as reply:
        return reply.status, await reply.body.read(10 * 1024 * 1024)


async def pieces(*values):
    for value in values:
        if isinstance(value, Exception):
            raise value
        yield value


@pytest.mark.parametrize(
    ("text", "origin", "authority"),
    [
        ("http://127.0.0.1:81/", Origin("127.0.0.1", 81), "127.0.0.1:81"),
        ("http://[::1]", Origin("::1", 80), "[::1]"),
        ("https://h", Origin("h", 443, secure=True), "h"),
        ("https://h:80", Origin("h", 80, secure=True), "h:80"),
        ("unix:/run/engine", Origin("localhost", 80, "/run/engine"), "localhost"),
    ],
)
def test_origins_are_tcp_or_unix(text, origin, authority):
    assert Origin.parse(text) == origin
    assert origin.authority == authority


@pytest.mark.parametrize("text", ["ftp://h", "h:80", "http://", "http://u@h", "http://h:x", "unix:x", "http://[", ""])
def test_another_origin_is_refused(text):
    with pytest.raises(UsageError):
        Origin.parse(text)


async def test_exchanges_share_one_connection():
    peers = set()

    async def remember(request):
        peers.add(dict(request.headers)[b"host"])
        return await echo(request)

    async with serving(remember) as origin, client_of(origin, connections=1) as client:
        assert await ask(client, b"hi") == (200, b"POST /x hi")
        assert await ask(client, pieces(b"h", b"i")) == (200, b"POST /x hi")
        assert await ask(client, pieces(b"h", b"i"), length=2) == (200, b"POST /x hi")
        assert await ask(client, method=b"GET") == (200, b"GET /x ")
        assert len(client._open) == 1
        assert peers == {origin.authority.encode()}


async def test_a_unix_socket_serves_as_well(tmp_path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    server = HttpServer(echo, Limits())
    await server.start(listener)
    async with client_of(Origin.parse(f"unix:{tmp_path}/socket")) as client:
        assert await ask(client, b"hi") == (200, b"POST /x hi")
    await server.close(1)


async def test_large_bodies_go_both_ways():
    body = bytes(range(256)) * 20_000
    async with serving(echo) as origin, client_of(origin) as client:
        assert await ask(client, body) == (200, b"POST /x " + body)
        assert await ask(client, pieces(body[:3_000_000], body[3_000_000:])) == (200, b"POST /x " + body)


async def test_callers_over_the_cap_wait_for_a_connection_within_their_deadline():
    async def slow(request):
        await asyncio.sleep(0.2)
        return Response(200, [], b"done")

    async with serving(slow) as origin, client_of(origin, connections=1) as client:
        first = asyncio.create_task(ask(client))
        await asyncio.sleep(0)
        with pytest.raises(SlowPeer, match="came free in time"):
            await ask(client, seconds=0.05)
        assert (await asyncio.gather(first, ask(client)))[1] == (200, b"done")


async def test_a_peer_that_is_not_there_is_unavailable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        origin = Origin(*free.getsockname())
    async with client_of(origin) as client:
        with pytest.raises(Unavailable, match="takes no connections"):
            await ask(client)
    async with client_of(Origin.parse("unix:/nonexistent/socket")) as client:
        with pytest.raises(Unavailable, match="takes no connections"):
            await ask(client)


async def test_a_peer_that_does_not_answer_is_slow_and_its_connection_is_not_kept():
    async def never(request):
        await asyncio.sleep(60)

    async with serving(never, grace_seconds=0) as origin, client_of(origin) as client:
        with pytest.raises(SlowPeer, match="did not answer in time"):
            await ask(client, seconds=0.1)
        await asyncio.sleep(0)
        assert not client._open


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (PeerLeft, b""),
        (PeerLeft, OK),
        (PeerLeft, OK + b"Content-Length: 9\r\n\r\nabc"),
        (PeerLeft, OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        (PeerLeft, OK + b"\r\nabc"),
        (BadReply, b"nonsense\r\n\r\n"),
        (BadReply, OK + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\n"),
        (BadReply, OK + b"Transfer-Encoding: chunked\r\n\r\nzz"),
        (BadReply, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        (BadReply, OK + b"X: " + b"x" * 40_000),
    ],
)
async def test_an_answer_that_breaks_off_or_is_not_http_is_an_error_and_never_whole(error, answer):
    async with saying(answer) as origin, client_of(origin) as client:
        with pytest.raises(error):
            await ask(client)
        assert not client._idle


async def test_interim_answers_are_passed_over():
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with saying(interim, OK + b"Content-Length: 3\r\n\r\nabc") as origin, client_of(origin) as client:
        assert await ask(client) == (200, b"abc")


async def test_bytes_that_nobody_asked_for_end_the_connection():
    stray = OK + b"Content-Length: 3\r\n\r\n"
    async with saying(stray + b"abc", b"HTTP/1.1 200 OK\r\n") as origin, client_of(origin) as client:
        assert await ask(client) == (200, b"abc")
        await asyncio.sleep(0.1)
        assert not client._open


async def test_an_early_refusal_is_seen_while_the_body_is_still_being_sent():
    async def refuse(request):
        return Response(413, [], b"no")

    async def endless():
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    async with serving(refuse) as origin, client_of(origin) as client:
        assert await ask(client, endless()) == (413, b"no")
        assert not client._idle


async def test_what_the_bodys_source_raises_reaches_the_caller():
    async with serving(echo) as origin, client_of(origin) as client:
        with pytest.raises(MalformedInput, match="cut"):
            await ask(client, pieces(b"abc", MalformedInput("cut")))
        with pytest.raises(ValueError, match="announced as 9"):
            await ask(client, pieces(b"abc"), length=9)


async def test_an_answer_that_is_left_unread_ends_its_connection():
    async def large(request):
        return Response(200, [], b"x" * 5_000_000)

    async with serving(large) as origin, client_of(origin) as client:
        async with client.exchange(b"GET", b"/", [], seconds=2) as reply:
            assert reply.status == 200
        await asyncio.sleep(0)
        assert not client._open


async def test_a_caller_that_is_cancelled_gives_its_place_back():
    async def never(request):
        await asyncio.sleep(60)

    async with serving(never, grace_seconds=0) as origin, client_of(origin, connections=1) as client:
        for _ in range(2):
            asked = asyncio.create_task(ask(client, pieces(b"a", b"b")))
            await asyncio.sleep(0.05)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked


@pytest.mark.parametrize("name", [b"x\r\ny", b"x\0"])
async def test_a_header_cannot_write_headers(name):
    async with serving(echo) as origin, client_of(origin) as client:
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            async with client.exchange(b"GET", b"/", [(b"a", name)], seconds=1):
                pass


def test_a_kept_connection_is_given_up_before_any_service_of_ours_closes_it():
    assert ServiceLimits().idle_seconds > IDLE_SECONDS
    assert Limits().idle_seconds > IDLE_SECONDS
