"""One connection to an engine: a request out, its answer back, piece by piece as it comes.

An engine may have fallen to hostile input, so its answer is held to the strict grammar and to caps, and whatever it
says before it is asked ends the connection: it would be taken for the next user's answer. All bytes here are content
in the clear; they are read into a buffer of the connection's own, which is wiped when the exchange ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import termios
from collections.abc import Callable, Iterable
from typing import Final, Protocol, cast

from cloister.errors import CloisterError, Unavailable
from cloister.hosting.http_chunk_views import ChunkedBody
from cloister.hosting.http_head import ResponseHead, parse_response_head
from cloister.services.gateway.buffers import wipe

MAXIMUM_ANSWER: Final = 32 * 1024 * 1024  # bytes of one that has a length; a streamed one has no cap, it is not held
_READ: Final = 64 * 1024
_MAXIMUM_HEAD: Final = 16 * 1024
_NOTHING: Final = b"\0\0\0\0"


class EngineFailed(Unavailable):
    """It ended, or answered what is not HTTP or over a cap."""

    status = 502


class EngineSlow(Unavailable):
    """It did not answer in its time."""

    status = 504


class Asker(Protocol):
    """Who asks an engine, and hears what it says."""

    def answer_begins(self, head: ResponseHead) -> None:
        """The final head."""

    def answer_piece(self, data: memoryview) -> None:
        """More of the body, good until the link is let go."""

    def answer_pauses(self) -> None:
        """That was all that one read brought, and not the end."""

    def answer_ends(self) -> None:
        """It is whole; the link is to be let go."""

    def engine_failed(self, error: CloisterError) -> None:
        """The answer, or its rest, does not come; the link is closing."""

    def engine_took(self) -> None:
        """The engine's socket has all of the request, and nothing here reads it any more."""


class EngineLink(asyncio.BufferedProtocol):
    """One kept-alive connection; one exchange at a time."""

    def __init__(self, sock: socket.socket, closed: Callable[[EngineLink], None]) -> None:
        """`closed` is told once, when the connection has ended."""
        self.deadline = 0.0
        self._sock = sock
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._asker: Asker | None = None
        self._bytes = bytearray(_READ)
        self._scratch = memoryview(self._bytes)
        self._held = 0  # bytes of a head that is not whole yet
        self._dirty = 0  # how much of the buffer was written to
        self._left = 0
        self._chunks: ChunkedBody | None = None
        self._in_body = False
        self._reusable = False

    # --- asking ---

    @property
    def usable(self) -> bool:
        """Whether it can be asked: it is open, and silent."""
        if self._transport is None or self._transport.is_closing():
            return False
        if fcntl.ioctl(self._sock.fileno(), termios.FIONREAD, _NOTHING) != _NOTHING:
            self.close()
            return False
        return True

    def ask(self, asker: Asker, head: bytes, body: Iterable[memoryview], *, deadline: float) -> None:
        """Send a whole request.

        Its content is lent to the connection until the asker hears that it was taken. Where the asker does not, as when
        the link is let go before, the connection may go on with it for a turn of the loop: it may be wiped, but nothing
        of somebody else's may lie there.
        """
        self._asker, self.deadline = asker, deadline
        self._in_body = self._reusable = False
        if self._transport is not None:
            self._transport.writelines([head, *body])
            if self.unsent == 0:
                asker.engine_took()

    def let_go(self) -> bool:
        """End the exchange; whether the link can serve another. If not, it is closed, which tells the engine."""
        self._asker = None
        wipe(self._scratch[: self._dirty])
        self._held = self._dirty = 0
        if self._transport is None or not (self._reusable and self.unsent == 0):
            self.close()
            return False
        self._transport.resume_reading()
        return True

    @property
    def unsent(self) -> int:
        """Bytes that the engine has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Close soon, whatever is unsent. uvloop still writes until it calls `connection_lost`."""
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """Its time is over."""
        self._fail(EngineSlow("the engine did not answer in its time"))

    def pause_reading(self) -> None:
        """Let the engine wait."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Let it go on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- what the loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The engine took the connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._transport.set_write_buffer_limits(high=0)  # so that `resume_writing` says that all is written

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason is the engine's
        """The engine is gone, or was left."""
        self._transport = None
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.engine_failed(EngineFailed("the engine's connection ended before its answer did"))
        wipe(self._scratch[: self._dirty])
        self._dirty = 0
        self._closed(self)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where to put what arrives next."""
        return self._scratch[self._held :]

    def buffer_updated(self, nbytes: int) -> None:
        """So much has arrived."""
        start, end = self._held, self._held + nbytes
        self._dirty = max(self._dirty, end)
        if self._asker is None:
            self.close()  # it speaks unasked
            return
        try:
            if self._in_body:
                self._read_body(self._scratch[start:end])
            else:
                self._read_heads(end)
        except CloisterError:
            self._fail(EngineFailed("the engine answered what is not HTTP, or over its cap"))

    def resume_writing(self) -> None:
        """All is written."""
        if self._asker is not None:
            self._asker.engine_took()

    # --- the answer ---

    def _read_heads(self, end: int) -> None:
        start = 0
        while True:
            found = self._bytes.find(b"\r\n\r\n", start, end) + 4
            if found < 4:
                break
            head = parse_response_head(bytes(self._scratch[start:found]))
            if head is None:
                raise EngineFailed("the engine's head is none")
            start = found
            if head.status >= 200:
                self._begin(head, self._scratch[start:end])
                return
        if end - start > _MAXIMUM_HEAD:
            raise EngineFailed("the engine's head is over its cap")
        self._bytes[: end - start] = self._bytes[start:end]  # interim responses are passed over
        self._held = end - start

    def _begin(self, head: ResponseHead, rest: memoryview) -> None:
        if head.length is None and not head.chunked:
            raise EngineFailed("an answer without a length could be cut unseen")
        if head.length is not None and head.length > MAXIMUM_ANSWER:
            raise EngineFailed("the engine's answer is over its cap")
        self._held = 0
        self._in_body, self._reusable = True, head.keep_alive
        self._left, self._chunks = head.length or 0, ChunkedBody() if head.chunked else None
        if self._asker is not None:
            self._asker.answer_begins(head)
        if self._asker is not None:
            self._read_body(rest)

    def _read_body(self, data: memoryview) -> None:
        asker = self._asker
        if asker is None:
            return
        if self._chunks is not None:
            for piece in self._chunks.feed(data):
                asker.answer_piece(piece)
            ended = self._chunks.finished
        else:
            if len(data) > self._left:
                raise EngineFailed("the engine said more than it announced")
            self._left -= len(data)
            if len(data):
                asker.answer_piece(data)
            ended = self._left == 0
        if self._asker is not asker:
            return
        if ended:
            asker.answer_ends()
        else:
            asker.answer_pauses()

    def _fail(self, error: CloisterError) -> None:
        asker, self._asker = self._asker, None
        self.close()
        if asker is not None:
            asker.engine_failed(error)
