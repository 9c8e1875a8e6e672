"""A client leaves in the middle of its upload, of the work, or of the answer: nobody works for it any longer."""

from __future__ import annotations

import asyncio
import contextlib

from tests.doubles.lingering_engine import EVENT, LingeringEngine

from cloister.client.exchange import UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.relay import Relay
from cloister.client.session import Session
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.hosting.loopback import LOOPBACK
from cloister.services.gateway.engine import SocketEngine
from cloister.testing.local_system import LocalSystem

REQUEST = UserRequest("POST", "/v1/audio/transcriptions", (("content-type", "audio/wav"),), b"sound")
SECONDS = 10  # by far more than it takes


@contextlib.asynccontextmanager
async def client_of(system, engine):
    """A session with a whole system before `engine`."""
    async with contextlib.AsyncExitStack() as stack:
        await system.run_ledger(stack)
        await system.run_kms(stack)
        behind = SocketEngine(engine.path)
        stack.push_async_callback(behind.close)
        await system.run_gateway_before(stack, behind)
        await system.run_relay(stack)
        policy = system.trust_policy()
        memory = MemoryFile(system.folder / "memory", genesis=policy.constitution)
        yield await stack.enter_async_context(Session(policy, memory, Relay(system.url("relay"))))


async def metrics(system):
    """What the gateway counts."""
    client = HttpClient(Origin(LOOPBACK, system.ports["gateway"]))
    try:
        async with client.exchange(b"GET", b"/metrics", [], b"", seconds=5) as reply:
            return await reply.body.read(2**20)
    finally:
        await client.close()


async def leaves(task, engine):
    """Cancel what the client does once the engine was asked; it must hear of it."""
    async with asyncio.timeout(SECONDS):
        await engine.asked.wait()
        assert not engine.left.is_set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.left.wait()


async def test_a_client_that_leaves_in_the_middle_of_its_upload_asked_no_engine_and_is_let_go_by_the_gateway(tmp_path):
    sent, system = asyncio.Event(), LocalSystem(tmp_path)

    async def speech():
        for _ in range(8):
            yield b"sound" * 20_000
        sent.set()
        await asyncio.Event().wait()  # the rest never comes

    async with (
        LingeringEngine(tmp_path / "engine.sock", streams=False) as engine,
        client_of(system, engine) as client,
    ):

        async def upload():
            async with client.stream(REQUEST, speech()):
                raise AssertionError("there is no answer")

        task = asyncio.create_task(upload())
        async with asyncio.timeout(SECONDS):
            await sent.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            while b'status="499"} 1.0' not in await metrics(system):  # noqa: ASYNC110 - another process's count, in effect
                await asyncio.sleep(0.05)
        assert not engine.asked.is_set()


async def test_a_client_that_leaves_while_the_engine_works_leaves_the_engine_too(tmp_path):
    async with (
        LingeringEngine(tmp_path / "engine.sock", streams=False) as engine,
        client_of(LocalSystem(tmp_path), engine) as client,
    ):
        await leaves(asyncio.create_task(client.send(REQUEST)), engine)


async def test_a_client_that_leaves_in_the_middle_of_a_stream_leaves_the_engine_too(tmp_path):
    async with (
        LingeringEngine(tmp_path / "engine.sock", streams=True) as engine,
        client_of(LocalSystem(tmp_path), engine) as client,
    ):
        async with asyncio.timeout(SECONDS), client.stream(REQUEST) as answer:
            heard = b""
            while heard.count(EVENT) < 3:
                heard += await anext(answer)
            assert not engine.left.is_set()
        async with asyncio.timeout(SECONDS):
            await engine.left.wait()
