"""What a relay bears: of one client, of all, of slow ones, and of gateways that are down or talk nonsense."""

import asyncio
import contextlib
import json
import socket

import pytest
from tests.doubles.certificates import Authority
from tests.doubles.http_peers import connected, exchange_bytes, serving
from tests.doubles.open_sockets import Silent
from tests.doubles.relays import relay_before

from cloister.hosting.breaker import FIRST_BREAK_SECONDS
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Origin
from cloister.services.relay.gateways import SILENT_EXCHANGES

POST = b"POST /gateway HTTP/1.1\r\nHost: h\r\nContent-Type: message/ohttp-req\r\n"
SEALED = POST + b"Content-Length: 6\r\n\r\nsealed"
CLOSING = POST + b"Connection: close\r\nContent-Length: 6\r\n\r\nsealed"
ANSWER = Response(200, [(b"content-type", b"message/ohttp-res")], b"sealed answer")


async def answer(request):
    await request.body.read(10_000_000)
    return ANSWER


@contextlib.asynccontextmanager
async def relayed(handler=answer, **settings):
    async with serving(handler, grace_seconds=0) as gateway, relay_before(gateway, **settings) as relay:
        yield relay


@contextlib.asynccontextmanager
async def gateway_that_says(said):
    """A gateway that answers the first bytes of each connection with `said`, and closes it."""

    async def speak(reader, writer):
        await reader.read(65_536)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield Origin(*server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


async def speak_sealed(reader, writer):
    await reader.read(65_536)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 1\r\n\r\nx")
    writer.close()


async def one_answer(reader):
    """The next answer on a kept connection: status, headers, body."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head[1:-2])
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers[b"content-length"]))


async def ask(connection, request=SEALED):
    connection[1].write(request)
    return await one_answer(connection[0])


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


async def test_a_dead_gateway_is_not_asked_for_a_moment_and_then_tried_again():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    async with relay_before(f"http://127.0.0.1:{port}") as relay, connected(relay) as connection:
        assert (await ask(connection))[0] == 502
        server = await asyncio.start_server(speak_sealed, "127.0.0.1", port)
        status, _, body = await ask(connection)
        assert (status, json.loads(body)["detail"]) == (502, "no gateway takes connections, or answers on them")
        await asyncio.sleep(FIRST_BREAK_SECONDS + 0.3)
        assert (await ask(connection))[0] == 200
        server.close()
        await server.wait_closed()


class FickleGateway:
    """Takes every connection; then it drops it, waits, or answers, in its time. Counts what it is asked."""

    def __init__(self, *, seconds=0.0):
        self.asked, self.does, self.seconds = 0, "drop", seconds
        self.open, self.waiting = set(), []

    def answers(self):
        """From now on, those that wait too."""
        self.does = "answer"
        for connection in self.waiting:
            connection.answer()

    @contextlib.asynccontextmanager
    async def serving(self):
        server = await asyncio.get_running_loop().create_server(lambda: FickleConnection(self), "127.0.0.1", 0)
        try:
            yield Origin(*server.sockets[0].getsockname())
        finally:
            server.close()
            for transport in self.open:
                transport.abort()
            await asyncio.sleep(0)


class FickleConnection(asyncio.Protocol):
    def __init__(self, gateway):
        self._gateway = gateway

    def connection_made(self, transport):
        self._transport, self._got = transport, b""
        self._gateway.open.add(transport)

    def connection_lost(self, _error):
        self._gateway.open.discard(self._transport)

    def data_received(self, data):
        self._got += data
        if self._gateway.does == "deaf":
            self._transport.pause_reading()
        head, _, body = self._got.partition(b"\r\n\r\n")
        if self._gateway.does == "drop" or len(body) == int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]):
            self._got = b""
            self._gateway.asked += 1
            if self._gateway.does == "drop":
                self._transport.close()
            elif self._gateway.does == "answer" and body != b"slow":
                asyncio.get_running_loop().call_later(self._gateway.seconds, self.answer)
            else:
                self._gateway.waiting.append(self)

    def answer(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 1\r\n\r\n"
        self._transport.write(head + b"x")


@pytest.mark.parametrize("silence", ["drop", "wait"])
async def test_a_gateway_that_takes_connections_and_answers_nothing_is_left_alone_until_it_answers_the_relay(silence):
    gateway = FickleGateway()
    async with (
        gateway.serving() as origin,
        relay_before(origin, gateway_seconds=0.3) as relay,
        connected(relay) as one,
        connected(relay) as another,
    ):
        gateway.does = silence
        expected = 502 if silence == "drop" else 504
        assert [(await ask(one))[0] for _ in range(SILENT_EXCHANGES)] == [expected] * SILENT_EXCHANGES
        status, _, body = await ask(one)
        assert (status, json.loads(body)["detail"]) == (502, "no gateway takes connections, or answers on them")
        assert gateway.asked == SILENT_EXCHANGES
        await asyncio.sleep(FIRST_BREAK_SECONDS + 0.3)
        assert [(await ask(client))[0] for client in (one, another)] == [502] * 2
        assert gateway.asked == SILENT_EXCHANGES + 1
        gateway.answers()
        await asyncio.sleep(2 * FIRST_BREAK_SECONDS + 0.3)
        assert [(await ask(one))[0] for _ in range(3)] == [200] * 3


@contextlib.asynccontextmanager
async def asking(relay, request, *, again_in=None):
    """A client that sends so much of a request; it stays, or leaves and comes again, until the end."""

    async def ask():
        while True:
            async with connected(relay) as (_, writer):
                writer.write(request)
                await asyncio.sleep(again_in or 60)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


HALF = POST + b"Content-Length: 600\r\n\r\nhalf"
SLOW = POST + b"Content-Length: 4\r\n\r\nslow"  # whole, and the gateway takes long for it


@pytest.mark.parametrize(("sent", "again_in"), [(HALF, None), (HALF, 0.01), (SLOW, None), (SLOW, 0.01)])
async def test_no_client_can_keep_out_a_gateway_that_answers_again(sent, again_in):
    gateway = FickleGateway()
    async with gateway.serving() as origin, relay_before(origin) as relay, connected(relay) as connection:
        for _ in range(SILENT_EXCHANGES):
            assert (await ask(connection))[0] == 502
        gateway.does = "answer"
        await asyncio.sleep(FIRST_BREAK_SECONDS + 0.3)
        async with asking(relay, sent, again_in=again_in):
            await asyncio.sleep(0.1)
            codes = []
            async with asyncio.timeout(2):
                while 200 not in codes:
                    codes.append((await ask(connection))[0])
                    await asyncio.sleep(0.1)


async def test_a_gateway_that_answered_the_relay_alone_is_left_alone_at_its_next_silence():
    gateway = FickleGateway()
    async with gateway.serving() as origin, relay_before(origin) as relay, connected(relay) as connection:
        for _ in range(SILENT_EXCHANGES):
            assert (await ask(connection))[0] == 502
        gateway.does = "answer"
        await asyncio.sleep(FIRST_BREAK_SECONDS + 0.3)
        assert gateway.asked == SILENT_EXCHANGES + 1
        gateway.does = "drop"
        bodies = [(await ask(connection))[2] for _ in range(2)]
        assert [json.loads(body)["detail"].partition(",")[0] for body in bodies] == [
            "the gateway broke off",
            "no gateway takes connections",
        ]


async def test_the_time_for_an_answer_begins_when_the_request_is_whole():
    gateway = FickleGateway(seconds=0.6)
    gateway.does = "answer"
    async with gateway.serving() as origin, relay_before(origin, gateway_seconds=1.0) as relay:

        async def send_slowly():
            async with connected(relay) as (reader, writer):
                writer.write(POST + b"Content-Length: 8\r\n\r\n")
                for _ in range(8):
                    await asyncio.sleep(0.1)
                    writer.write(b"x")
                return (await one_answer(reader))[0]

        slow = await asyncio.gather(*(send_slowly() for _ in range(SILENT_EXCHANGES)))
        assert slow == [200] * SILENT_EXCHANGES
        async with connected(relay) as connection:
            assert (await ask(connection))[0] == 200


async def test_a_gateway_that_reads_no_more_of_a_request_is_a_504_when_the_time_for_requests_is_over():
    gateway = FickleGateway()
    gateway.does = "deaf"
    size = 30_000_000  # more than the buffers on the way
    async with (
        gateway.serving() as origin,
        relay_before(origin, body_seconds=0.5) as relay,
        connected(relay) as (reader, writer),
    ):
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % size + bytes(size - 1))
        status, _, body = await one_answer(reader)
    assert (status, json.loads(body)["detail"]) == (504, "the gateway did not take the request in time")


async def test_a_silent_gateway_leaves_its_turns_to_the_others():
    silent = FickleGateway()
    async with (
        silent.serving() as first,
        serving(answer, grace_seconds=0) as second,
        relay_before(first, second) as relay,
        connected(relay) as connection,
    ):
        codes = [(await ask(connection))[0] for _ in range(4 * SILENT_EXCHANGES)]
    assert codes.count(502) == silent.asked == SILENT_EXCHANGES
    assert codes[-SILENT_EXCHANGES:] == [200] * SILENT_EXCHANGES


async def test_an_answer_between_its_silences_keeps_a_gateway_in_turn():
    gateway = FickleGateway()
    async with gateway.serving() as origin, relay_before(origin) as relay, connected(relay) as connection:
        for _ in range(2 * SILENT_EXCHANGES):
            gateway.does = "drop"
            assert (await ask(connection))[0] == 502
            gateway.does = "answer"
            assert (await ask(connection))[0] == 200
    assert gateway.asked == 4 * SILENT_EXCHANGES


async def test_clients_that_do_not_send_all_of_their_requests_break_no_gateway_out():
    gateway = FickleGateway()
    async with gateway.serving() as origin, relay_before(origin) as relay:
        for _ in range(2 * SILENT_EXCHANGES):
            half = POST + b"Content-Length: 100\r\n\r\nhalf"
            assert b"the gateway broke off" in await exchange_bytes(relay, half)
        gateway.does = "answer"
        async with connected(relay) as connection:
            assert (await ask(connection))[0] == 200


@pytest.mark.parametrize(
    "said",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 1\r\n\r\nxyz",
        b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n",
        b"",
        b"X" * 40_000,
    ],
)
async def test_an_answer_that_is_none_is_a_502(said):
    async with gateway_that_says(said) as gateway, relay_before(gateway) as relay, connected(relay) as connection:
        status, headers, body = await ask(connection)
    assert (status, headers[b"content-type"], json.loads(body)["retry"]) == (502, b"application/problem+json", True)


@pytest.mark.parametrize(
    "said",
    [
        b"Content-Length: 100\r\n\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nha",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ],
)
async def test_an_answer_that_breaks_off_is_never_ended_as_if_it_were_whole(said):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-chunked-res\r\n"
    async with (
        gateway_that_says(head + said) as gateway,
        relay_before(gateway) as relay,
        connected(relay) as connection,
    ):
        reader, writer = connection
        writer.write(SEALED)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200 ")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 5)


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


async def test_the_retry_after_of_a_busy_gateway_is_passed_on_if_it_is_seconds():
    for value, passed in ((b"7", b"7"), (b"Sat, 21 Nov 2026 12:00:00 GMT", None), (b"canary", None)):
        busy = Response(503, [(b"content-type", b"application/problem+json"), (b"retry-after", value)], b"{}")

        async def handler(request, busy=busy):
            return busy

        async with relayed(handler) as relay, connected(relay) as connection:
            status, headers, _ = await ask(connection)
        assert (status, headers.get(b"retry-after")) == (503, passed)


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
