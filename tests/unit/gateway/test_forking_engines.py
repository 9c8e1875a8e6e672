"""A connection to an engine is one request's, whatever the process at its other end says."""

import asyncio
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
