"""A gateway for chunked requests over real sockets, before an engine that streams as a test says."""

import asyncio
import contextlib

from tests.doubles.chunked_client import ChunkedClient
from tests.doubles.sealed_client import NOON, Keys
from tests.doubles.served_gateway import Receipts, served

from cloister.services.gateway.data_plane import DataPlaneLimits, build_gateway
from cloister.services.gateway.engine import SocketEngine

EVENTS = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Engine:
    """Speaks on its socket as a test says; remembers what it was sent."""

    def __init__(self):
        self.heads, self.bodies, self.left = [], [], asyncio.Event()
        self.said = 0  # bytes of endless streams
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.reads = asyncio.Event()
        self.reads.set()
        self.stream = self.endless = False
        self.breaks_off = False

    async def __call__(self, reader, writer):
        try:
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                self.bodies.append(b"")
                await self.read_body(reader)
                await self.answer(writer, self.bodies[-1])
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()

    async def was_asked(self):
        async with asyncio.timeout(10):
            while not self.heads:  # noqa: ASYNC110 - a socket's other side sets no event
                await asyncio.sleep(0.01)

    async def read_body(self, reader):
        await self.reads.wait()
        if "content-length" in self.heads[-1]:
            length = int(self.heads[-1].split("content-length: ")[1].split("\r\n")[0])
            self.bodies[-1] = await reader.readexactly(length)
            return
        while size := int(await reader.readuntil(b"\r\n"), 16):
            self.bodies[-1] += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)

    async def answer(self, writer, body):
        if not self.stream:
            await self.go_on.wait()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
            return
        writer.write(STREAM)
        while self.endless:
            writer.write(b"%x\r\n%b\r\n" % (50_000, bytes(50_000)))
            await writer.drain()
            self.said += 50_000
        for event in EVENTS:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(0.02)
            await self.go_on.wait()
            if self.breaks_off:
                raise ConnectionError
        writer.write(b"0\r\n\r\n")


class World:
    def __init__(self, origin, keys, engine, receipts, gateway):
        self.origin, self.keys, self.engine, self.receipts, self.gateway = origin, keys, engine, receipts, gateway

    @property
    def memory(self):
        return self.gateway._shared.memory

    def client(self, config=None, records=None):
        return ChunkedClient(self.origin, config or self.keys.config, records)


@contextlib.asynccontextmanager
async def world(tmp_path, *, connections=4, receipts=None, **limits):
    times, keys, engine, receipts = iter([NOON - 100]), Keys(), Engine(), receipts or Receipts()
    server = await asyncio.start_unix_server(engine, tmp_path / "s")
    supply = SocketEngine(str(tmp_path / "s"), connections=connections)
    gateway = build_gateway(keys, supply, receipts, now=lambda: next(times, NOON), limits=DataPlaneLimits(**limits))
    async with served(gateway, grace_seconds=0) as origin:
        yield World(origin, keys, engine, receipts, gateway)
    await supply.close()
    server.close()
    await asyncio.wait_for(engine.left.wait(), 10)
