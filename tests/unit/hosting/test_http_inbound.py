"""The callback server: what it hands on, what it refuses, whom it does not wait for."""

import asyncio
import contextlib

import pytest
from tests.doubles.http_peers import connected, exchange_bytes
from tests.doubles.open_sockets import Silent

from cloister.hosting.http_inbound import InboundConnection
from cloister.hosting.http_inbound_server import serving
from cloister.hosting.http_inbound_state import InboundLimits, InboundState
from cloister.hosting.http_message import Origin
from cloister.hosting.loopback import listen, port_of


class Echo:
    """One exchange: answers with what it was sent; a path says how else."""

    def __init__(self, service, head, connection):
        self.service, self.head, self.connection = service, head, connection
        self.body = bytearray()

    def received(self, data):
        if self.head.target != b"/into":
            self.body += data
        elif not self.body:
            self.body = bytearray(self.head.length)
            self.body[: len(data)] = data
            if self.connection.left:
                self.connection.receive_into(memoryview(self.body)[len(data) :])

    def complete(self):
        if self.head.target == b"/stream":
            self.connection.start(200, b"", b"first ")
            self.connection.send(bytes(self.body))
            self.connection.end(b" last")
        elif self.head.target == b"/large":
            self.connection.respond(200, b"", bytes(30_000_000))
        elif self.head.target != b"/wait":
            self.connection.respond(200, b"x: y\r\n", bytes(self.body))

    def abandoned(self):
        self.service.abandoned.set()

    def pause(self):
        pass

    def resume(self):
        pass


class Service:
    def __init__(self):
        self.abandoned = asyncio.Event()

    def begin(self, head, connection):
        if head.target == b"/fault":
            raise ValueError("CANARY: what a user said")
        if head.target == b"/refused":
            connection.respond(403, b"", b"no")
            return None
        return Echo(self, head, connection)


@contextlib.asynccontextmanager
async def echoing(grace_seconds=0.0, **limits):
    service, listener = Service(), listen("127.0.0.1", 0)
    origin = Origin("127.0.0.1", port_of(listener))
    async with serving(service, listener, limits=InboundLimits(**limits), grace_seconds=grace_seconds):
        yield service, origin


def post(target, body, *lines):
    head = [b"POST %b HTTP/1.1" % target, b"host: x", b"content-length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("target", [b"/echo", b"/into"])
async def test_a_request_comes_whole_however_it_is_split_and_the_next_one_after_it(target, size):
    request = post(target, b"sound" * 3)
    last = post(b"/echo", b"last", b"connection: close")
    async with echoing() as (_, origin), connected(origin) as (reader, writer):
        for message in (request, request):
            for at in range(0, len(message), size):
                writer.write(message[at : at + size])
                await asyncio.sleep(0)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\nx: y\r\ndate: ")
            assert await reader.readexactly(15) == b"sound" * 3
        writer.write(last)
        assert (await reader.read()).endswith(b"connection: close\r\n\r\nlast")


async def test_a_chunked_request_and_a_streamed_answer():
    chunked = b"POST /stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    async with echoing() as (_, origin):
        answer = await exchange_bytes(origin, chunked, b"3\r\nsou\r\n2\r", b"\nnd\r\n0\r\n\r\n", pause=0.01)
    assert answer.endswith(b"6\r\nfirst \r\n5\r\nsound\r\n5\r\n last\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"nonsense\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        (413, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 101\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nff\r\n" + bytes(255)),
        (431, b"POST / HTTP/1.1\r\nhost: x\r\ny: " + b"x" * 40_000),
        (505, b"POST / HTTP/1.0\r\nhost: x\r\n\r\n"),
        (403, post(b"/refused", b"x" * 50)),
    ],
)
async def test_what_is_refused_is_told_so_and_the_connection_ends(status, sent):
    async with echoing(body_bytes=100) as (_, origin):
        assert (await exchange_bytes(origin, sent)).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("sent", [b"POST / HT", b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nso"])
async def test_who_sends_too_slowly_is_told_408(sent):
    async with echoing(head_seconds=0.3, stall_seconds=0.3) as (_, origin):
        assert (await exchange_bytes(origin, sent)).startswith(b"HTTP/1.1 408 ")


async def test_haste_at_first_earns_no_rest_later():
    begun = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5001\r\n\r\n" + bytes(5000)
    async with echoing(stall_seconds=0.3, minimum_rate=100) as (_, origin), asyncio.timeout(10):  # 5000 would be 50 s
        assert (await exchange_bytes(origin, begun)).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_goes_on_but_does_not_end_is_told_408_when_its_time_is_over():
    begun = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5001\r\n\r\n"
    async with echoing(body_seconds=0.3, minimum_rate=1) as (_, origin), connected(origin) as (reader, writer):
        writer.write(begun)
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        async with asyncio.timeout(10):
            while not answer.done():
                writer.write(b"x")
                await asyncio.sleep(0.02)
        assert answer.result().startswith(b"HTTP/1.1 408 ")


async def test_who_reads_too_slowly_is_cut_off():
    async with (
        echoing(write_seconds=0.3, minimum_rate=1e12) as (_, origin),
        connected(origin, receive_buffer=8192) as (reader, writer),
    ):
        writer.write(post(b"/large", b""))
        await asyncio.sleep(1.5)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(30_000_000)


class Reader(asyncio.Transport):
    """The far side of a connection: what was written waits until it is read."""

    def __init__(self):
        super().__init__()
        self.waiting, self.cut_off = 0, False

    def write(self, data):
        self.waiting += len(data)

    def get_write_buffer_size(self):
        return self.waiting

    def abort(self):
        self.cut_off = True


@pytest.mark.parametrize(("read", "borne"), [(0, 20), (2048, 40), (4000, 853), (4096, 3600), (9000, 3600)])
async def test_how_long_a_reader_of_a_stream_is_borne_depends_on_its_rate_alone(read, borne):
    reader = Reader()
    connection = InboundConnection(Service(), InboundState(InboundLimits(idle_seconds=10_000)))
    connection.connection_made(reader)
    began = asyncio.get_running_loop().time()
    connection.start(200, b"", bytes(50_000))
    seconds = 0
    while not reader.cut_off and seconds < 3600:
        connection.check_deadlines(began + seconds)
        connection.send(bytes(read + 1))  # there is always a little more than it has read
        reader.waiting -= read
        seconds += 1
    assert borne <= seconds <= borne + 2


async def test_a_client_that_leaves_abandons_its_request():
    async with echoing() as (service, origin):
        async with connected(origin) as (_, writer):
            writer.write(post(b"/wait", b"x"))
            await asyncio.sleep(0.1)
        await asyncio.wait_for(service.abandoned.wait(), 5)


async def test_the_connection_that_is_idle_longest_makes_room_for_a_new_one():
    async with echoing(connections=2) as (_, origin), connected(origin) as (first, _), connected(origin) as (_, busy):
        await asyncio.sleep(0.05)
        busy.write(post(b"/wait", b"x"))
        await asyncio.sleep(0.05)
        answer = await exchange_bytes(origin, post(b"/echo", b"x", b"connection: close"))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert await asyncio.wait_for(first.read(), 5) == b""


async def test_a_client_that_waits_for_leave_to_send_gets_it():
    async with echoing() as (_, origin), connected(origin) as (reader, writer):
        writer.write(post(b"/echo", b"x", b"expect: 100-continue")[:-1])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"x")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_fault_of_ours_ends_its_connection_alone_and_is_told_without_its_words(caplog):
    async with echoing() as (_, origin):
        with contextlib.suppress(ConnectionError):
            assert await exchange_bytes(origin, post(b"/fault", b"x")) == b""
        assert (await exchange_bytes(origin, post(b"/echo", b"x", b"connection: close"))).endswith(b"x")
    assert "ValueError at " in caplog.text
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("sent", [b"", b"nonsense\r\n\r\n", post(b"/echo", b"x")])
async def test_no_more_connections_are_held_than_may_be_and_the_next_client_is_served(sent):
    async with echoing(connections=4) as (_, origin):
        with Silent(origin) as clients:
            await clients.connect(20, sent)
            assert clients.held() <= 4
        assert (await exchange_bytes(origin, post(b"/echo", b"x", b"connection: close"))).endswith(b"x")


async def test_who_has_yet_to_read_an_answer_makes_no_room_until_its_time_is_over():
    async with echoing(connections=2, write_seconds=0.5, minimum_rate=1e12) as (_, origin):
        with Silent(origin) as readers:
            await readers.connect(2, post(b"/large", b""))
            await readers.answered()
            with contextlib.suppress(ConnectionError):
                assert await exchange_bytes(origin, post(b"/echo", b"x", b"connection: close")) == b""
            assert readers.held() == 2
            await readers.become(0)
            assert (await exchange_bytes(origin, post(b"/echo", b"x", b"connection: close"))).endswith(b"x")


@pytest.mark.parametrize(
    ("grace_seconds", "answers"),
    [(30, [b"connection: close\r\n\r\nlast"]), (4, [])],
    ids=["who is being replaced answers once more, and says that it closes", "who just ends closes at once"],
)
async def test_a_kept_connection_when_the_service_stops(grace_seconds, answers):
    async with contextlib.AsyncExitStack() as stack:
        _, origin = await stack.enter_async_context(echoing(grace_seconds=grace_seconds))
        async with connected(origin) as (reader, writer):
            writer.write(post(b"/echo", b"x"))
            await reader.readuntil(b"\r\n\r\nx")
            stopping = asyncio.create_task(stack.aclose())
            await _nobody_is_taken_any_more(origin)
            writer.write(post(b"/echo", b"last"))
            got = b""
            with contextlib.suppress(ConnectionError):
                got = await reader.read()
            await stopping
        assert [got[-len(one) :] for one in answers] == answers
        assert bool(got) == bool(answers)


async def _nobody_is_taken_any_more(origin):
    with contextlib.suppress(OSError):
        while True:
            _, writer = await asyncio.open_connection(origin.host, origin.port)
            writer.close()
            await asyncio.sleep(0.01)
