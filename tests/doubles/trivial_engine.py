"""An engine on a unix socket that answers what it was asked, and counts how often it was asked each thing."""

from __future__ import annotations

import asyncio
import collections
import contextlib

from cloister.formats.binary_http import Response


class TrivialEngine:
    """HTTP/1.1 with content lengths and kept connections, and no more."""

    def __init__(self, path):
        self.path = str(path)
        self.asked: collections.Counter[bytes] = collections.Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self):
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_raised):
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.asked[body] += 1
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body) + body
                )
                await writer.drain()
        self._open.discard(writer)
        writer.transport.abort()


class EchoEngine:
    """An engine within this process that answers what it was asked."""

    def missing(self):
        return ()

    async def ask(self, request, *, seconds):
        return Response(200, (("content-type", "text/plain"),), b"heard " + request.body)
