"""Gateways that are dead, silent, slow, or answer what is none: which the relay asks, and what clients are told."""

import asyncio
import contextlib
import json
import socket

import pytest
from tests.doubles.http_peers import connected, exchange_bytes, serving
from tests.doubles.relays import relay_before
from tests.doubles.sealed_exchanges import (
    POST,
    SEALED,
    answer,
    ask,
    gateway_that_says,
    one_answer,
    relayed,
    speak_sealed,
)

from cloister.hosting.breaker import FIRST_BREAK_SECONDS
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Origin
from cloister.services.relay.gateways import SILENT_EXCHANGES


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


async def test_the_retry_after_of_a_busy_gateway_is_passed_on_if_it_is_seconds():
    for value, passed in ((b"7", b"7"), (b"Sat, 21 Nov 2026 12:00:00 GMT", None), (b"canary", None)):
        busy = Response(503, [(b"content-type", b"application/problem+json"), (b"retry-after", value)], b"{}")

        async def handler(request, busy=busy):
            return busy

        async with relayed(handler) as relay, connected(relay) as connection:
            status, headers, _ = await ask(connection)
        assert (status, headers.get(b"retry-after")) == (503, passed)
