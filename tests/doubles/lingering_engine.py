"""An engine on a unix socket that never comes to an end: it says when it was asked, and when who asked has left."""

from __future__ import annotations

import asyncio
import contextlib

EVENT = b"data: more\n\n"


class LingeringEngine:
    """Reads whatever it is sent; with `streams` it answers with events for as long as anyone listens."""

    def __init__(self, path, *, streams):
        self.path = str(path)
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.received = 0
        self._streams = streams
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self):
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_raised):
        self._server.close()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        answering = asyncio.create_task(self._answer(writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.received += len(data)
                self.asked.set()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        if self.asked.is_set():
            self.left.set()
        writer.transport.abort()

    async def _answer(self, writer):
        await self.asked.wait()
        if not self._streams:
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
            await writer.drain()
            await asyncio.sleep(0.02)
