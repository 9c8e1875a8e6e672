"""What a connection may go on reading into or writing from, after it was aborted, is no other request's place."""

import asyncio
import contextlib
import socket
import weakref

import pytest
import uvloop
from tests.doubles.gateway_exchanges import Connection, nothing_allowed, request_head
from tests.doubles.sealed_client import NOON, Keys, request
from tests.doubles.served_gateway import Receipts, served

from cloister.formats.binary_http import encode
from cloister.formats.binary_http_stream import content, finish, start
from cloister.formats.contract import Endpoint
from cloister.ohttp import chunked, encapsulation
from cloister.services.gateway.buffers import Buffers, Segments
from cloister.services.gateway.data_plane import DataPlaneLimits, build_gateway
from cloister.services.gateway.engine_link import EngineLink
from cloister.services.gateway.request_memory import Busy, RequestMemory
from cloister.services.gateway.whole_exchange import WholeExchange

ENDPOINT = Endpoint(method="POST", path="/v1/audio/transcriptions")
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nheard"


class IdleEngine:
    """One connection to an engine that reads when a test does, and that takes little unread."""

    @contextlib.asynccontextmanager
    async def connected(self):
        ours, self.engine = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for end in (ours, self.engine):
            end.setblocking(False)
        self.closed = asyncio.Event()
        loop = asyncio.get_running_loop()
        _, self.link = await loop.create_unix_connection(lambda: EngineLink(ours, self._ended), sock=ours)
        self.idle = [self.link]
        with self.engine:
            yield
            self.link.close()
            await asyncio.wait_for(self.closed.wait(), 10)

    def _ended(self, _link):
        self.closed.set()

    def take(self):
        return self.idle.pop() if self.idle else None

    def wanted(self, supplied, failed):
        """There is only the one."""

    def give_back(self, link, *, reusable):
        link.close()

    def missing(self):
        return ()

    def reads_on(self):
        """All that the kernel has for it now."""
        got = b""
        with contextlib.suppress(BlockingIOError):
            while data := self.engine.recv(2**20):
                got += data
        return got

    async def reads_to_the_end(self):
        got, loop = b"", asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(self.engine, 2**20):
                got += data
        return got


def posted(media_type, body, length=None):
    head = f"POST /gateway HTTP/1.1\r\nhost: gateway\r\ncontent-type: {media_type}\r\ncontent-length: "
    return head.encode() + b"%d\r\n\r\n" % (length or len(body)) + body


def in_chunks(keys, body, *, whole=True):
    sealer, _ = chunked.encapsulate(keys.config)
    plain = start(request()) + content(body)
    sealed = [sealer.seal(plain[at : at + 65_000]) for at in range(0, len(plain), 65_000)]
    if whole:
        sealed.append(sealer.finish(finish()))
    return posted(chunked.REQUEST_MEDIA_TYPE, sealer.head + b"".join(sealed), None if whole else 400_000)


def as_one(keys, body):
    return posted(
        encapsulation.REQUEST_MEDIA_TYPE,
        encapsulation.encapsulate_request(keys.config, encode(request(body=body)))[0],
    )


FORMS = {
    "in chunks": lambda keys: in_chunks(keys, b"A" * 250_000),
    "as one message": lambda keys: as_one(keys, b"A" * 250_000),
    "as one small message": lambda keys: as_one(keys, b"A" * 50_000),
}


@contextlib.asynccontextmanager
async def world():
    times, keys, engine = iter([NOON - 100]), Keys(given={7}), IdleEngine()
    gateway = build_gateway(keys, engine, Receipts(), now=lambda: next(times, NOON), limits=DataPlaneLimits())
    async with engine.connected(), served(gateway) as origin:
        yield origin, keys, engine, gateway._shared


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a socket's other side sets no event
            await asyncio.sleep(0.002)


async def what_the_engine_of_a_client_that_left_gets(form):
    """While in the turn in which that client is given up, another one's upload comes, and then the engine reads on."""
    async with world() as (origin, keys, engine, shared):
        _, leaving = await asyncio.open_connection(origin.host, origin.port)
        with socket.create_connection((origin.host, origin.port)) as other:
            got = []

            def observe(status, _seconds):
                got.append(status)
                assert other.send(in_chunks(keys, b"B" * 60_000, whole=False)) > 60_000
                got.append(engine.reads_on())

            leaving.write(FORMS[form](keys))
            await until(lambda: engine.link.unsent)
            shared.observe = observe
            leaving.transport.abort()
            await until(lambda: shared.memory.held == 60_000)
            status, early = got
            assert status == 499
            shared.observe = lambda _status, _seconds: None
            return early + await engine.reads_to_the_end()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("form", FORMS)
def test_the_engine_of_a_client_that_left_gets_nothing_of_anothers_upload(form, run):
    head, body = run(what_the_engine_of_a_client_that_left_gets(form)).split(b"\r\n\r\n", 1)
    assert b"content-length" in head
    assert body.startswith(b"A")
    assert not body.strip(b"A\0")


async def place_after(ending, form):
    """The mapping that a request lay in, weakly, and whether it is used again, once the engine's connection is gone."""
    async with world() as (origin, keys, engine, shared):
        taken, take = [], shared.buffers.take

        def remembered(size):
            taken.append(take(size))
            return taken[-1]

        shared.buffers.take = remembered
        reader, writer = await asyncio.open_connection(origin.host, origin.port)
        with contextlib.closing(writer):
            writer.write(FORMS[form](keys))
            await until(lambda: engine.link.unsent)
            (place,) = taken
            taken.clear()
            mapping = weakref.ref(place.view.obj)
            del place
            await ending(engine, reader, writer)
            await asyncio.wait_for(engine.closed.wait(), 10)
            await asyncio.sleep(0.01)  # uvloop lets its views go a turn later
            return mapping, take(250_000).view.obj is mapping()


async def leaves(_engine, _reader, writer):
    """The client, while the engine reads nothing."""
    writer.transport.abort()


async def is_answered(engine, reader, _writer):
    """The client, after the engine has read all."""
    await until(lambda: not (engine.reads_on() or engine.link.unsent))
    engine.engine.send(ANSWER)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


LARGE = ["in chunks", "as one message"]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("form", LARGE)
def test_a_place_that_the_engine_had_not_read_is_gone_once_its_connection_is(form, run):
    mapping, again = run(place_after(leaves, form))
    assert not again
    assert mapping() is None


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("form", LARGE)
def test_a_place_that_the_engine_had_read_is_used_again(form, run):
    _, again = run(place_after(is_answered, form))
    assert again


def test_a_place_that_is_given_back_is_wiped_and_used_again():
    buffers = Buffers()
    place = buffers.take(100_000)
    view = place.view
    view[:5], place.filled = b"sound", 5
    place.give_back()
    assert not any(view)
    assert buffers.take(100_000).view.obj is view.obj


def test_a_place_that_is_given_back_while_it_is_lent_is_wiped_and_not_used_again():
    buffers = Buffers()
    place = buffers.take(100_000)
    view = place.view
    view[:5], place.filled, place.lent = b"sound", 5, True
    place.give_back()
    assert not any(view)
    assert buffers.take(100_000).view.obj is not view.obj


def test_segments_that_are_given_back_while_they_are_lent_are_not_used_again():
    buffers = Buffers()
    body = Segments(buffers)
    body.add(memoryview(b"s" * 300_000))
    views, body.lent = body.views, True
    body.give_back()
    assert not any(map(any, views))
    assert buffers.take(2**18).view.obj not in [view.obj for view in views]


@contextlib.asynccontextmanager
async def arriving(cap):
    """A large request of which 80,000 bytes have arrived in its place, and that place."""
    connection = Connection()
    connection.left = 100_000
    shared = nothing_allowed(Keys(given={7}, endpoints=()))
    shared.memory = RequestMemory(cap, patience_seconds=10)
    exchange = WholeExchange(shared, connection, request_head(200_000))  # type: ignore[arg-type]
    exchange.received(memoryview(b"c" * 100_000))
    place = connection.place
    place[:80_000] = b"c" * 80_000
    yield exchange, place, shared.buffers


async def test_what_arrived_in_its_place_and_may_not_be_held_is_wiped():
    async with arriving(150_000) as (exchange, place, _):
        with pytest.raises(Busy):
            exchange.received(place[:80_000])
        exchange.abandoned()
        assert not any(place)


async def test_a_place_that_a_clients_connection_may_have_read_into_unsaid_is_not_used_again():
    async with arriving(2**20) as (exchange, place, buffers):
        exchange.abandoned()
        assert buffers.take(200_000).view.obj is not place.obj
