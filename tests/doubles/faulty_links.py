"""Links that a test breaks and mends: what is behind one is down, slow, or answers garbage."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os

from cloister.hosting.loopback import LOOPBACK

PIECE = 65_536
NO_HTTP = (
    os.urandom(700),
    b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + os.urandom(300),  # and then no more
    b"HTTP/1.1 200 OK\r\n\r\n" + os.urandom(300),  # whose end could be a cut
)
NO_ANSWER = (
    *NO_HTTP,
    b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 64\r\n\r\n" + os.urandom(64),
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"text":"no"}',
    b"HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-res\r\ncontent-length: 96\r\n\r\n" + os.urandom(96),
)


class FaultyLink:
    """Passes bytes between those who connect and `target` while its state is `up`.

    `down`: takes no connections, and those that were end. `slow`: takes bytes and passes none on until it is up again.
    `garbage`: whoever asks gets one kind of garbage after the other, and `target` hears nothing.
    """

    def __init__(self, target, *, socket_path=None, garbage=NO_ANSWER):
        """`target` is a port of the loopback interface, or the path of a unix socket as `socket_path`, this one's."""
        self._target = target
        self._path = socket_path
        self.port = 0
        self.state = "up"
        self._up = asyncio.Event()
        self._up.set()
        self._garbage = itertools.cycle(garbage)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self):
        await self._listen()
        return self

    async def __aexit__(self, *_raised):
        self._up.set()
        await self._close()
        await asyncio.gather(*self._tasks)

    async def become(self, state):
        """Break it, or mend it with `up`. Connections that were open in another state end."""
        self.state = state
        if state == "slow":
            self._up.clear()
            return
        self._up.set()
        self._cut()
        if state == "down":
            await self._close()
        elif self._server is None:
            await self._listen()

    async def _listen(self):
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
            return
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self):
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut()
        await asyncio.sleep(0)

    def _cut(self):
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                await (self._babble(reader, writer) if self.state == "garbage" else self._pass_on(reader, writer))
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _babble(self, reader, writer):
        await reader.read(PIECE)
        writer.write(next(self._garbage))
        await writer.drain()
        writer.write_eof()
        await reader.read(PIECE)

    async def _pass_on(self, reader, writer):
        if isinstance(self._target, int):
            onward = await asyncio.open_connection(LOOPBACK, self._target)
        else:
            onward = await asyncio.open_unix_connection(self._target)
        self._open.add(onward[1])
        try:
            await asyncio.gather(self._pump(reader, onward[1]), self._pump(onward[0], writer))
        finally:
            self._open.discard(onward[1])
            onward[1].transport.abort()

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                await self._up.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()
