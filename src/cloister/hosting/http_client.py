"""A pooled, kept-alive HTTP/1.1 client for one origin, over TCP or a unix socket.

One deadline covers an exchange from the first byte out to the last byte in. Nothing is sent twice: whether a retry
can do harm is the caller's to know. A response without a length or chunks is refused, for its end could be a cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

import httptools

from cloister.errors import Unavailable, UsageError
from cloister.hosting.http_body import Body
from cloister.hosting.http_connection import Connection, PeerLeft, SlowPeer
from cloister.hosting.http_message import Headers, Origin, encode_head, header

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 2.0  # less than any of our services keeps an idle connection, so that no request meets a closing one


class BadReply(PeerLeft):
    """The peer's answer is not HTTP/1.1, or over a cap."""


class NoConnection(Unavailable):
    """Nothing was sent and nothing of the request's body was read: another origin can be asked."""

    status = 502


@dataclass(frozen=True, slots=True)
class Reply:
    """A response whose head has arrived. Read its body to the end, or leave the `exchange` to drop the rest."""

    status: int
    headers: Headers
    body: Body


class HttpClient:
    """At most `connections` to one origin at a time; more callers wait within their own deadline."""

    def __init__(self, origin: Origin, *, connections: int = 64, tls: ssl.SSLContext | None = None) -> None:
        """`tls` is how a secure origin is spoken to, see `hosting.tls.peer_tls`.

        Raises:
            UsageError: the origin is secure and there is no `tls`, or the other way round.
        """
        if origin.secure != (tls is not None):
            raise UsageError(
                f"{origin} and how it is to be spoken to do not fit: https needs certificates, http has none"
            )
        self.origin = origin
        self._tls = tls
        self._idle: list[_ClientConnection] = []
        self._slots = asyncio.Semaphore(connections)
        self._open: set[_ClientConnection] = set()

    @contextlib.asynccontextmanager
    async def exchange(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes | AsyncIterable[bytes] = b"",
        *,
        seconds: float,
        length: int | None = None,
    ) -> AsyncIterator[Reply]:
        """Send one request; within the context its reply can be read.

        Args:
            method: other than HEAD and CONNECT.
            target: path and query.
            headers: Host and framing are added here.
            body: streamed bodies are sent as they come.
            seconds: for the whole exchange.
            length: bytes of a streamed body, where known; else it goes in chunks.

        Raises:
            Unavailable: no connection, an answer that breaks off or is not HTTP, or the deadline passed.
            Exception: what the body's own source raised.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        connection = await self._connection(deadline)
        try:
            length = len(body) if isinstance(body, bytes) else length
            head = _request_head(method, target, self.origin, headers, length)
            yield await connection.send(head, body, length=length, deadline=deadline)
        finally:
            if connection.end_exchange():
                self._idle.append(connection)
            else:
                connection.abort()
            self._slots.release()

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)

    async def _connection(self, deadline: float) -> _ClientConnection:
        """A kept or new connection; the caller holds a slot until it gives the slot back."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline if self._slots.locked() else None):
                await self._slots.acquire()
        except TimeoutError as error:
            raise SlowPeer(f"no connection to {self.origin} came free in time") from error
        try:
            while self._idle:
                connection = self._idle.pop()
                if connection.usable(loop.time()):
                    return connection
                connection.abort()
            return await self._connect(min(deadline, loop.time() + CONNECT_SECONDS))
        except BaseException:
            self._slots.release()
            raise

    async def _connect(self, deadline: float) -> _ClientConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                if self.origin.socket_path:
                    _, connection = await loop.create_unix_connection(self._made, self.origin.socket_path)
                else:
                    host, port = self.origin.host, self.origin.port
                    _, connection = await loop.create_connection(self._made, host, port, ssl=self._tls)
        except ssl.SSLError as error:  # the peer's certificate, or ours to the peer
            reason = getattr(error, "verify_message", "") or error.reason
            raise NoConnection(f"{self.origin} and this service do not trust each other: {reason}") from error
        except TimeoutError as error:
            raise NoConnection(f"{self.origin} does not take connections in time") from error
        except OSError as error:
            raise NoConnection(f"{self.origin} takes no connections: {error.strerror or 'it left'}") from error
        return connection

    def _made(self) -> _ClientConnection:
        return _ClientConnection(self.origin, self._open)


class _ClientConnection(Connection):
    """One connection to the origin and the exchange that is under way on it."""

    def __init__(self, origin: Origin, everyone: set[_ClientConnection]) -> None:
        super().__init__()
        self._origin = origin
        self._everyone = everyone
        self._parser = httptools.HttpResponseParser(self)
        self._head: asyncio.Future[Reply] | None = None
        self._body: Body | None = None
        self._sender: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._complete = True
        self._keep_alive = True
        self._idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The origin took the connection."""
        super().connection_made(transport)
        self._everyone.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The origin is gone, or was left."""
        super().connection_lost(exc)
        self._everyone.discard(self)
        why = f": {exc.reason}" if isinstance(exc, ssl.SSLError) else ""  # as when it wants another certificate
        self._fail(PeerLeft(f"{self._origin} closed the connection before its answer was complete{why}"))

    async def send(
        self, head: bytes, body: bytes | AsyncIterable[bytes], *, length: int | None, deadline: float
    ) -> Reply:
        """Send a request and wait for the head of its reply, which may come before the request is out."""
        self._complete = False
        self._head = self.loop.create_future()
        self._timer = self.loop.call_at(deadline, self._expire)
        if isinstance(body, bytes):
            await self.write_message(head, body, length=length)
        else:
            self._sender = self.loop.create_task(self.write_message(head, body, length=length))
            self._sender.add_done_callback(self._sent)
        return await self._head

    def end_exchange(self) -> bool:
        """The caller has done; whether the connection can serve another exchange."""
        if self._timer is not None:
            self._timer.cancel()
        if self._head is not None and self._head.done() and not self._head.cancelled():
            self._head.exception()  # seen, whether or not the caller came to wait for it
        whole = self._complete and self._keep_alive and (self._sender is None or self._sender.done())
        if self._sender is not None:
            self._sender.cancel()
        self._sender = self._body = self._head = self._timer = None
        self._idle_since = self.loop.time()
        return whole and self.usable(self._idle_since)

    def usable(self, now: float) -> bool:
        """Whether a request can be sent."""
        return self.transport is not None and not self.transport.is_closing() and now - self._idle_since < IDLE_SECONDS

    def data_received(self, data: bytes) -> None:
        """More of the reply."""
        if self._complete:  # nobody asked
            self.abort()
        elif error := self.feed(self._parser, data):
            self._fail(BadReply(f"{self._origin} answered with what is not taken: {error}"))
            self.abort()

    def on_headers_complete(self) -> None:
        """The reply's head, or an interim one (1xx), which is passed over."""
        self.in_head = False
        status = self._parser.get_status_code()
        if status < 200 or self._head is None:
            return
        self._keep_alive = self._parser.should_keep_alive()
        length = header(self.headers, b"content-length")
        self._body = Body(self, None if length is None else int(length))
        if not self._head.done():
            self._head.set_result(Reply(status, self.headers, self._body))

    def on_body(self, data: bytes) -> None:
        """A piece of the reply's body."""
        if self._body is not None:
            self._body.feed(data)

    def on_message_complete(self) -> None:
        """The reply is complete, unless it was an interim one."""
        if self._body is not None:
            self._complete = True
            self._body.finish()

    def want_body(self) -> None:
        """Nothing to tell a server."""

    def _sent(self, sender: asyncio.Task[None]) -> None:
        """The request's body is out, or is not going to be."""
        error = None if sender.cancelled() else sender.exception()
        if isinstance(error, Exception) and self.transport is not None:  # else `connection_lost` has told the caller
            self._fail(error)
            self.abort()

    def _expire(self) -> None:
        self._fail(SlowPeer(f"{self._origin} did not answer in time"))
        self.abort()

    def _fail(self, error: Exception) -> None:
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        if self._body is not None:
            self._body.fail(error)


def _request_head(method: bytes, target: bytes, origin: Origin, headers: Headers, length: int | None) -> bytes:
    framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
    if length == 0 and method == b"GET":
        return encode_head(b"%b %b HTTP/1.1\r\n" % (method, target), [(b"host", origin.authority.encode()), *headers])
    first = [(b"host", origin.authority.encode()), framing]
    return encode_head(b"%b %b HTTP/1.1\r\n" % (method, target), [*first, *headers])
