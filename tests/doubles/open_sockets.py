"""Connections that a test opens and leaves alone, and how many of their other ends this process still has."""

import asyncio
import contextlib
import select
import socket
from pathlib import Path


def open_sockets():
    """How many sockets this process has."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(path.readlink()).startswith("socket:")
    return found


class Silent:
    """Connections to one server of this process; what comes on them is not read."""

    def __init__(self, origin):
        self._address = (origin.host, origin.port)
        self._before = open_sockets()
        self.sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()

    async def connect(self, number, sent=b""):
        """Open so many, one after the other, and send this on each."""
        for _ in range(number):
            one = socket.socket()
            self.sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # what is sent to it waits with the sender
            one.connect(self._address)
            one.sendall(sent)
            await asyncio.sleep(0.02)

    async def answered(self, seconds=10):
        """Wait until an answer has begun on each."""
        async with asyncio.timeout(seconds):
            while len(select.select(self.sockets, [], [], 0)[0]) < len(self.sockets):  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.01)

    def held(self):
        """How many of them the server has not let go of."""
        return open_sockets() - self._before - len(self.sockets)

    async def become(self, at_most, seconds=10):
        """Wait until the server holds so few."""
        async with asyncio.timeout(seconds):
            while self.held() > at_most:  # noqa: ASYNC110 - the system tells nobody
                await asyncio.sleep(0.02)
