"""A message's body as it arrives, with back pressure: read it whole under a cap, or piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from cloister.errors import TooLarge

HIGH_WATER = 256 * 1024  # bytes that may wait for their reader before the peer is told to wait


class Source(Protocol):
    """The connection that a body arrives on."""

    def want_body(self) -> None:
        """Someone begins to read."""

    def pause_body(self) -> None:
        """More waits than the reader takes."""

    def resume_body(self) -> None:
        """The reader has caught up."""


class Body(AsyncIterator[bytes]):
    """One reader reads; the connection calls `feed`, `finish` and `fail`."""

    __slots__ = ("_error", "_paused", "_pieces", "_reader", "_source", "_touched", "_waiting", "finished", "length")

    def __init__(self, source: Source, length: int | None) -> None:
        self.length = length  # in bytes, as announced
        self.finished = False
        self._source = source
        self._pieces: list[bytes] = []
        self._waiting = 0  # bytes in `_pieces`
        self._paused = self._touched = False
        self._reader: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    def feed(self, data: bytes) -> None:
        """More has arrived."""
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > HIGH_WATER and not self._paused:
            self._paused = True
            self._source.pause_body()
        self._wake()

    def finish(self) -> None:
        """All has arrived."""
        self.finished = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The rest will not come; what has arrived is not to be used."""
        if not self.finished and self._error is None:
            self._error = error
            self._pieces.clear()
            self._wake()

    async def receive(self) -> bytes:
        """What has arrived since the last call, at least a byte; empty at the end.

        Raises:
            Exception: why the rest does not come, as given to `fail`.
        """
        if not self._touched:
            self._touched = True
            self._source.want_body()
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.finished:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        if self._paused:
            self._paused = False
            self._source.resume_body()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes.

        Raises:
            TooLarge: it is announced or found to be longer; the rest is not read.
            Exception: why the rest does not come, as given to `fail`.
        """
        if self.length is not None and self.length > limit:
            raise TooLarge(f"a body of {self.length} bytes, the cap is {limit}")
        pieces, size = [], 0
        while data := await self.receive():
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise TooLarge(f"a body over the cap of {limit} bytes")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def __anext__(self) -> bytes:
        if data := await self.receive():
            return data
        raise StopAsyncIteration

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
