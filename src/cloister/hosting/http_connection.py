"""One connection, in either role: heads under a cap, writes that wait for a slow peer, reads that pause.

The grammar is httptools' (llhttp in strict mode, which refuses ambiguous framing: two lengths, a length beside
chunked coding, bare line feeds).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import cast

import httptools

from cloister.errors import CloisterError, MalformedInput, Unavailable
from cloister.hosting.http_head import MAXIMUM_HEAD, MAXIMUM_HEADERS, HeadTooLarge
from cloister.hosting.http_message import chunk

SMALL = 64 * 1024  # bytes of a body that is copied behind its head, so that the message is one write


class PeerLeft(Unavailable):
    """The connection ended before the message did."""

    status = 502


class SlowPeer(Unavailable):
    """The peer did not read, or did not answer, in its time."""

    status = 504


class Connection(asyncio.Protocol):
    """Parses what arrives and calls the `on_…` methods of the role; raising in one of them ends the connection."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.in_head = False
        self._head_fed = self._head_parsed = 0  # bytes
        self._writable: asyncio.Future[None] | None = None  # exists while the peer reads too slowly

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop hands over the socket."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason is the peer's
        """The socket is closed; whoever waits to write finds out by writing."""
        self.transport = None
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def feed(
        self, parser: httptools.HttpRequestParser | httptools.HttpResponseParser, data: bytes
    ) -> CloisterError | None:
        """Parse `data`; returns why it is refused, if it is."""
        try:
            parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, CloisterError):
                return error.__context__
            raise
        except httptools.HttpParserUpgrade:
            return MalformedInput("no other protocol is spoken here")
        except httptools.HttpParserError:
            return MalformedInput("not an HTTP/1.1 message")
        if not self.in_head:
            return None
        self._head_fed += len(data)  # a head that does not end is kept by the parser, field by field
        return _head_error(self._head_fed, 0)

    def on_message_begin(self) -> None:
        """A head begins."""
        self.headers = []
        self.in_head = True
        self._head_fed = self._head_parsed = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._head_parsed += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer: those are counted and dropped."""
        if self.in_head:
            self.headers.append((name.lower(), value))
        self._head_parsed += len(name) + len(value)
        if error := _head_error(self._head_parsed, len(self.headers)):
            raise error

    def pause_writing(self) -> None:
        """The peer reads more slowly than is written."""
        self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def pause_body(self) -> None:
        """Let the peer wait."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_body(self) -> None:
        """Let the peer go on."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Hand `data` to the transport.

        Raises:
            PeerLeft: the connection is closed.
        """
        if self.transport is None or self.transport.is_closing():
            raise PeerLeft("the peer closed the connection")
        self.transport.write(data)

    async def write_message(self, head: bytes, body: bytes | AsyncIterable[bytes], *, length: int | None) -> None:
        """Write a whole message; a streamed body waits for a slow peer, and goes in chunks if it has no `length`.

        Raises:
            PeerLeft: the connection closed on the way.
            ValueError: a streamed body was not of its announced length.
            Exception: what the body's own source raised.
        """
        if isinstance(body, bytes):
            if len(body) <= SMALL:
                self.write(head + body)
            else:
                self.write(head)
                self.write(body)
            return
        self.write(head)
        sent = 0
        async for data in body:
            if data:
                self.write(chunk(data) if length is None else data)
                sent += len(data)
                if self._writable is not None:
                    await self._writable
        if length is None:
            self.write(b"0\r\n\r\n")
        elif sent != length:
            raise ValueError(f"a body of {sent} bytes was announced as {length}")

    def abort(self) -> None:
        """Close at once; what was not yet sent is lost, and the peer sees a reset."""
        if self.transport is not None:
            self.transport.abort()


def _head_error(size: int, headers: int) -> HeadTooLarge | None:
    if size > MAXIMUM_HEAD:
        return HeadTooLarge(f"a head over the cap of {MAXIMUM_HEAD} bytes")
    if headers > MAXIMUM_HEADERS:
        return HeadTooLarge(f"more than {MAXIMUM_HEADERS} headers")
    return None
