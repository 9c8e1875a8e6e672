"""A lean server on a free port for the length of a test, and a client that sends bytes as they are."""

import asyncio
import contextlib
import socket

from cloister.hosting.http_exchange import Limits, Response
from cloister.hosting.http_message import Origin
from cloister.hosting.http_server import HttpServer
from cloister.hosting.loopback import listen, port_of


@contextlib.asynccontextmanager
async def serving(handler, limits=None, grace_seconds=2):
    """The origin at which `handler` is served."""
    server, listener = HttpServer(handler, limits or Limits()), listen("127.0.0.1", 0)
    await server.start(listener)
    try:
        yield Origin("127.0.0.1", port_of(listener))
    finally:
        await server.close(grace_seconds)


@contextlib.asynccontextmanager
async def connected(origin, *, receive_buffer=None):
    """A connection of the standard library's, closed at the end whatever became of it.

    With a `receive_buffer` of so many bytes what is not read waits with the sender; the system's own grows to 32 MiB.
    """
    one = socket.socket()
    if receive_buffer is not None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, (origin.host, origin.port))
    reader, writer = await asyncio.open_connection(sock=one)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def exchange_bytes(origin, *pieces, pause=0.0):
    """Everything the server answers to `pieces`, until it closes the connection."""
    async with connected(origin) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 10)


async def echo(request):
    """Answers with the method, the target and the body."""
    body = await request.body.read(10 * 1024 * 1024)
    return Response(200, [(b"content-type", b"text/plain")], f"{request.method} {request.target} ".encode() + body)
