"""A connection to an engine is one request's, whatever the process at its other end says."""

import asyncio
import contextlib
import re

from cloister.services.gateway.engines import Engines, QueueLimits
from cloister.services.gateway.forking_engines import ForkingEngines


class Keeping:
    """An engine's process that has fallen to a request: it keeps its connection, and tells all it heard on it."""

    async def __call__(self, reader, writer):
        heard = []
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                (length,) = re.findall(rb"content-length: (\d+)", head)
                heard.append(await reader.readexactly(int(length)))
                answer = b"|".join(heard)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
        except asyncio.IncompleteReadError:
            writer.close()


class Request:
    """Asks for an engine, and keeps what it answers."""

    def __init__(self, engines, body):
        self.engines, self.body = engines, body
        self.answer = b""
        self.done = asyncio.Event()

    def engine_ready(self, link):
        self.link = link
        head = b"POST /x HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(self.body)
        link.ask(self, head, [memoryview(self.body)], deadline=self.engines.deadline())

    def answer_begins(self, head):
        assert head.keep_alive

    def answer_piece(self, data):
        self.answer += bytes(data)

    def answer_pauses(self):
        """It has nothing more to say yet."""

    def answer_ends(self):
        self.engines.give_back(self.link)
        self.done.set()

    def engine_failed(self, error):
        raise error

    def engine_took(self):
        """It has all of the request."""


async def test_a_process_that_would_keep_its_connection_is_given_no_second_request(tmp_path):
    address = str(tmp_path / "engine.sock")
    server = await asyncio.start_unix_server(Keeping(), address)
    supply = ForkingEngines(1, missing=lambda: ())
    engines = Engines(supply, QueueLimits())
    supply.add(address)
    answers = []
    for body in (b"first", b"second", b"third"):
        request = Request(engines, body)
        engines.take(request)
        async with asyncio.timeout(10):
            await request.done.wait()
        answers.append(request.answer)
    assert answers == [b"first", b"second", b"third"]
    supply.close()
    server.close()
    await asyncio.sleep(0)


async def test_a_process_that_hangs_up_unasked_is_connected_to_ever_less_often(tmp_path):
    address, connections = str(tmp_path / "engine.sock"), []

    async def hang_up(reader, writer):
        connections.append(writer)
        writer.close()

    server = await asyncio.start_unix_server(hang_up, address)
    supply = ForkingEngines(1, missing=lambda: ())
    supply.add(address)
    await asyncio.sleep(1)
    assert 2 <= len(connections) <= 4  # at once, then after 0.2, 0.4 and 0.8 s
    supply.close()
    server.close()
    await asyncio.sleep(0)


async def test_an_engine_that_is_taken_away_ends_what_it_has_begun_and_another_has_the_next(tmp_path):
    old, new = (str(tmp_path / name) for name in ("old.sock", "new.sock"))
    held = asyncio.Event()

    async def slow(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await held.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow")
        writer.close()

    servers = [await asyncio.start_unix_server(slow, old), await asyncio.start_unix_server(Keeping(), new)]
    supply = ForkingEngines(2, missing=lambda: ())
    engines = Engines(supply, QueueLimits())
    supply.add(old)
    begun, after = Request(engines, b"begun"), Request(engines, b"after")
    engines.take(begun)
    async with asyncio.timeout(10):
        while not hasattr(begun, "link") or not supply._idle:  # noqa: ASYNC110 - a connection sets no event
            await asyncio.sleep(0.01)
        supply.add(new)
        supply.remove(old)
        engines.take(after)
        await after.done.wait()
        held.set()
        await begun.done.wait()
    assert (begun.answer, after.answer) == (b"slow", b"after")
    supply.close()
    for server in servers:
        server.close()
    await asyncio.sleep(0.05)  # what they serve hears of it, and lets go
