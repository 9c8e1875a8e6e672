"""Sealed requests through a relay, spoken byte by byte, before gateways that answer as a test says."""

import asyncio
import contextlib

from tests.doubles.http_peers import serving
from tests.doubles.relays import relay_before

from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Origin

POST = b"POST /gateway HTTP/1.1\r\nHost: h\r\nContent-Type: message/ohttp-req\r\n"
SEALED = POST + b"Content-Length: 6\r\n\r\nsealed"
CLOSING = POST + b"Connection: close\r\nContent-Length: 6\r\n\r\nsealed"
ANSWER = Response(200, [(b"content-type", b"message/ohttp-res")], b"sealed answer")


async def answer(request):
    await request.body.read(10_000_000)
    return ANSWER


@contextlib.asynccontextmanager
async def relayed(handler=answer, **settings):
    async with serving(handler, grace_seconds=0) as gateway, relay_before(gateway, **settings) as relay:
        yield relay


@contextlib.asynccontextmanager
async def gateway_that_says(said):
    """A gateway that answers the first bytes of each connection with `said`, and closes it."""

    async def speak(reader, writer):
        await reader.read(65_536)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield Origin(*server.sockets[0].getsockname())
    finally:
        server.close()
        await server.wait_closed()


async def speak_sealed(reader, writer):
    await reader.read(65_536)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 1\r\n\r\nx")
    writer.close()


async def one_answer(reader):
    """The next answer on a kept connection: status, headers, body."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head[1:-2])
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers[b"content-length"]))


async def ask(connection, request=SEALED):
    connection[1].write(request)
    return await one_answer(connection[0])
