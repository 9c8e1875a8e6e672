"""A gateway of two workers on one listener, before an engine that says who it heard."""

import asyncio
import contextlib
import time

from tests.doubles.sealed_client import Keys, request

from cloister.crypto.signing import SigningKey
from cloister.formats.binary_http import decode_response, encode
from cloister.formats.contract import Endpoint
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.hosting.loopback import LOOPBACK, listen, port_of
from cloister.ohttp.encapsulation import encapsulate_request
from cloister.services.gateway.control import HeldKey, Setup, State
from cloister.services.gateway.crew import Crew
from cloister.services.gateway.keys import KeyRing
from cloister.services.gateway.replay import ReplayTable
from cloister.services.gateway.shared_counts import SharedMetrics

ENDPOINT = Endpoint(method="POST", path="/v1/audio/transcriptions")


class Engine:
    """Says who it heard, one request a connection."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked = 0

    async def __call__(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            body = await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            self.asked += 1
            await self.go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()


class World:
    """A crew of two, and what is around it."""

    def __init__(self, folder, tls=None, context=None):
        """`tls` is what the crew listens with, `context` how its clients speak to it."""
        self.folder, self.tls, self.context = folder, tls, context
        self.keys = Keys(open_until=int(time.time()) + 3600)
        self.engine = Engine()
        self.told = [self.keys.key]  # keys that workers are told of
        self.stop = asyncio.Event()
        self.members: Crew
        self.listener = listen(LOOPBACK, 0)
        self.origin = Origin(LOOPBACK, port_of(self.listener), secure=tls is not None)

    def state(self):
        keys = tuple(
            HeldKey(
                key.key_id,
                key.private.kem,
                key.private.secret.reveal(),
                key.epoch,
                key.open_until,
                key.contract,
                key.endpoints.named,
            )
            for key in self.told
        )
        return State(keys=keys, witnessed=0, missing=(), engines=(str(self.folder),))

    def crew(self):
        replays = ReplayTable(window_seconds=300, capacity=1000, started=int(time.time()) - 10)
        setup = Setup(
            grace_seconds=4.0,
            about={},
            worker=0,
            workers=2,
            listener=self.listener.fileno(),
            replays=replays.descriptor,
            counts=SharedMetrics(workers=2).descriptor,
            sign_seed=SigningKey.generate().seed.reveal(),
            tls=self.tls,
            window_seconds=300,
            replay_entries=1000,
            request_bytes=2**21,
            waiting_requests=8,
            waiting_seconds=10,
            engine_seconds=10,
            at_once=1,
            log_level="error",
        )
        return Crew(setup, keys=KeyRing(self.keys, now=time.time), state=self.state)

    def sealed(self, body=b"sound"):
        return encapsulate_request(self.keys.config, encode(request(date=int(time.time()), body=body)))

    async def post(self, sealed, target=b"/gateway", method=b"POST"):
        """Over a connection of its own, so that any of the workers may take it."""
        client = HttpClient(self.origin, tls=self.context)
        headers = [(b"content-type", b"message/ohttp-req")]
        try:
            async with client.exchange(method, target, headers, sealed, seconds=10) as reply:
                return reply.status, await reply.body.read(2**22)
        finally:
            await client.close()

    async def ask(self, body=b"sound"):
        sealed, opener = self.sealed(body)
        status, body = await self.post(sealed)
        assert status == 200, body
        return decode_response(opener.open(body))


@contextlib.asynccontextmanager
async def world(tmp_path, *, tls=None, context=None, **changes):
    """A crew that serves until the end of the context."""
    here = World(tmp_path, tls, context)
    vars(here).update(changes)
    server = await asyncio.start_unix_server(here.engine, tmp_path / "engine.sock")
    ready = asyncio.Event()
    here.members = here.crew()
    running = asyncio.create_task(here.members.run(here.stop, ready=ready.set))
    try:
        await asyncio.wait_for(ready.wait(), 20)
        yield here
    finally:
        here.stop.set()
        await asyncio.wait_for(running, 20)
        server.close()
        here.listener.close()


async def both_serve(here):
    """Wait until both workers take connections."""
    async with asyncio.timeout(20):
        while len(here.members.serving) < 2:  # noqa: ASYNC110 - told over a socket
            await asyncio.sleep(0.02)
