"""Clients that begin long uploads and hardly go on: whoever sends at once is served all the same, through the relay."""

from __future__ import annotations

import asyncio
import contextlib

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.formats.binary_http import Response
from cloister.services.gateway.engine import SocketEngine
from cloister.testing.local_system import LocalSystem
from cloister.testing.served_engine import served_engine

REQUEST = UserRequest("POST", "/v1/audio/transcriptions", (("content-type", "audio/wav"),), b"sound")
ENGINES, SLOW = 2, 8


class Engine:
    """Says how long what it heard was."""

    async def ask(self, request, *, seconds):
        return Response(200, (("content-type", "text/plain"),), b"%d" % len(request.body))


async def test_clients_with_uploads_that_hardly_go_on_hold_no_engine(tmp_path):
    system, begun, go_on = LocalSystem(tmp_path), asyncio.Semaphore(0), asyncio.Event()

    async def speech():
        for _ in range(20):
            yield bytes(100_000)
        begun.release()
        await go_on.wait()
        yield bytes(7)

    async def upload(client):
        async with client.stream(REQUEST, speech()) as answer:
            return b"".join([piece async for piece in answer])

    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        await system.run_kms(stack)
        engines = SocketEngine(await stack.enter_async_context(served_engine(Engine())), connections=ENGINES)
        stack.push_async_callback(engines.close)
        await system.run_gateway_before(stack, engines)
        await system.run_relay(stack)
        policy = system.trust_policy()
        memory = MemoryFile(tmp_path / "memory", genesis=policy.constitution)
        client = await stack.enter_async_context(Session(policy, memory, Relay(system.url("relay"))))
        slow = [asyncio.create_task(upload(client)) for _ in range(SLOW)]
        for _ in slow:
            await asyncio.wait_for(begun.acquire(), 20)
        for _ in range(5):
            answer = await asyncio.wait_for(client.send(REQUEST), 10)
            assert answer.response.body == b"5"
        go_on.set()
        assert await asyncio.wait_for(asyncio.gather(*slow), 20) == [b"2000007"] * SLOW
