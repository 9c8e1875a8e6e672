"""A tap on a link: passes the bytes between two TCP peers, keeps a copy of them, and may alter them on the way."""

import asyncio
import contextlib
from base64 import b64encode

from cloister.hosting.http_message import Origin
from cloister.hosting.loopback import LOOPBACK

PIECE = 65_536


class Tap:
    """What passed in both directions in `bytes`, towards `behind` alone in `forward`; who connected in `addresses`."""

    def __init__(self, behind, *, source=None, alter=lambda answer: answer):
        """`source` is the address that `behind` sees; `alter` is given every piece of an answer."""
        self.behind = behind
        self.bytes = bytearray()
        self.forward = bytearray()
        self.addresses: set[str] = set()
        self.alter = alter
        self._local = source and (source, 0)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, reader, writer):
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.addresses.add(writer.get_extra_info("peername")[0])
        onward = await asyncio.open_connection(self.behind.host, self.behind.port, local_addr=self._local)
        await asyncio.gather(self._forward(reader, onward[1]), self._back(onward[0], writer))
        writer.transport.abort()
        onward[1].transport.abort()

    async def _forward(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                self.bytes += data
                self.forward += data
                writer.write(data)
            writer.write_eof()

    async def _back(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                self.bytes += data
                writer.write(self.alter(data))
            writer.write_eof()

    async def ended(self):
        await asyncio.gather(*self._tasks)


@contextlib.asynccontextmanager
async def tapped(tap):
    """The origin at which `tap` listens; its links end with the peers', which are to end first."""
    async with await asyncio.start_server(tap, LOOPBACK, 0) as server:
        yield Origin(*server.sockets[0].getsockname())
        server.close()
        async with asyncio.timeout(10):
            await tap.ended()


def spellings(data):
    """`data` as it is, and as it would stand in base64 at any offset, or in hex."""
    yield data
    yield data.hex().encode()
    for before in range(3):
        # The characters that depend on the neighbours are cut off at both ends.
        yield b64encode(bytes(before) + data)[(8 * before + 5) // 6 : 8 * (before + len(data)) // 6]


def found(marks, capture):
    """The names of those `marks` (name to byte strings) of which any stands in `capture`, in any spelling and case."""
    searched = bytes(capture).lower()
    return {
        name
        for name, strings in marks.items()
        if any(spelling.lower() in searched for string in strings for spelling in spellings(string))
    }
