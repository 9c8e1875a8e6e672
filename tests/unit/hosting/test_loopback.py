"""Sockets that services listen on."""

from __future__ import annotations

import asyncio
import socket

from cloister.hosting.loopback import LOOPBACK, listen, port_of


async def test_small_answers_are_sent_at_once():
    """Nagle's algorithm against delayed acknowledgements costs 40 ms an answer."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = writer.get_extra_info("socket")
        accepted.set_result(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = listen(LOOPBACK, 0)
    async with await asyncio.start_server(serve, sock=listener):
        _, writer = await asyncio.open_connection(LOOPBACK, port_of(listener))
        assert await accepted
        writer.close()
        await writer.wait_closed()
