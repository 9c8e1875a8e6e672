"""Several workers on one listener: one replay table, keys handed over, counts added up, the dead replaced."""

import asyncio
import contextlib
import json
import os
import signal
import time

import pytest
from tests.doubles.sealed_client import Keys, request

from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable
from cloister.formats.binary_http import decode_response, encode
from cloister.formats.contract import Endpoint
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.hosting.loopback import listen, port_of
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

    def __init__(self, folder):
        self.folder = folder
        self.keys = Keys(open_until=int(time.time()) + 3600)
        self.engine = Engine()
        self.told = [self.keys.key]  # keys that workers are told of
        self.stop = asyncio.Event()
        self.members: Crew
        self.listener = listen("127.0.0.1", 0)
        self.origin = Origin("127.0.0.1", port_of(self.listener))

    def state(self):
        keys = tuple(
            HeldKey(key.key_id, key.private.kem, key.private.secret.reveal(), key.epoch, key.open_until)
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
            contract=bytes(32),
            endpoints=(ENDPOINT,),
            tls=None,
            window_seconds=300,
            replay_entries=1000,
            request_bytes=2**20,
            waiting_requests=8,
            waiting_seconds=10,
            engine_seconds=10,
            log_level="error",
        )
        return Crew(setup, keys=KeyRing(self.keys, now=time.time), state=self.state)

    def sealed(self):
        return encapsulate_request(self.keys.config, encode(request(date=int(time.time()))))

    async def post(self, sealed, target=b"/gateway", method=b"POST"):
        """Over a connection of its own, so that any of the workers may take it."""
        client = HttpClient(self.origin)
        headers = [(b"content-type", b"message/ohttp-req")]
        try:
            async with client.exchange(method, target, headers, sealed, seconds=10) as reply:
                return reply.status, await reply.body.read(2**20)
        finally:
            await client.close()

    async def ask(self):
        sealed, opener = self.sealed()
        status, body = await self.post(sealed)
        assert status == 200, body
        return decode_response(opener.open(body))


@contextlib.asynccontextmanager
async def world(tmp_path, **changes):
    here = World(tmp_path)
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


async def test_a_request_is_answered_once_by_all_workers_together(tmp_path):
    async with world(tmp_path) as here:
        await both_serve(here)
        sealed, opener = here.sealed()
        replies = await asyncio.gather(*(here.post(sealed) for _ in range(16)))
        answers = [decode_response(opener.open(body)) for _, body in replies]
    assert sorted(answer.status for answer in answers) == [200] + [400] * 15
    assert here.engine.asked == 1


async def test_counts_of_all_workers_are_added_up_whichever_is_asked(tmp_path):
    async with world(tmp_path) as here:
        await both_serve(here)
        for _ in range(12):
            assert (await here.ask()).status == 200
        for _ in range(4):
            _, metrics = await here.post(b"", b"/metrics", b"GET")
            assert b'cloister_gateway_requests_total{route="/gateway",status="200"} 12.0' in metrics
            assert b'cloister_gateway_request_seconds_count{route="/gateway"} 12.0' in metrics


async def test_a_worker_that_is_killed_is_replaced_and_opens_nothing_that_was_answered(tmp_path):
    async with world(tmp_path) as here:
        await both_serve(here)
        sealed, _ = here.sealed()
        assert (await here.post(sealed))[0] == 200
        for pid in here.members.pids():
            os.kill(pid, signal.SIGKILL)
        here.members.serving.clear()
        await both_serve(here)
        assert (await here.ask()).status == 200
        before = here.engine.asked
        await here.post(sealed)
        assert here.engine.asked == before


async def test_a_key_that_workers_were_not_told_of_is_asked_for_and_an_unknown_one_is_refused(tmp_path):
    async with world(tmp_path, told=[]) as here:
        await both_serve(here)
        asking = asyncio.create_task(here.ask())
        async with asyncio.timeout(10):
            while not here.keys.asked:  # noqa: ASYNC110 - asked for over a socket
                await asyncio.sleep(0.02)
        here.told.append(here.keys.key)
        assert (await asking).status == 200
        sealed, _ = here.sealed()
        status, body = await here.post(b"\x63" + sealed[1:])
        assert (status, json.loads(body)["type"].rpartition("#")[2]) == (400, "ohttp-key")


async def test_a_stop_finishes_what_is_in_flight_and_ends_every_worker(tmp_path):
    async with world(tmp_path) as here:
        here.engine.go_on.clear()
        asking = asyncio.create_task(here.ask())
        async with asyncio.timeout(10):
            while not here.engine.asked:  # noqa: ASYNC110 - asked over a socket
                await asyncio.sleep(0.02)
        pids = here.members.pids()
        here.stop.set()
        await asyncio.sleep(0.2)
        here.engine.go_on.set()
        assert (await asking).body == b"sound"
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Unavailable):
        await here.post(b"")
