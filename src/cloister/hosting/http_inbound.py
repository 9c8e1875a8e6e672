"""One client's connection to a callback HTTP/1.1 server: no coroutine, no task and one write for each request.

For services that forward at wire speed; `http_server` has the same manners with a coroutine for each request. A body is
handed on as it arrives, either in views of one buffer that all connections share, good during the call only, or
straight into a buffer of the service's. Not spoken: HTTP/1.0, upgrades, pipelining (what comes before the answer is
dropped, and the connection closes after it).
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum, auto
from typing import Final, Protocol, cast

from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.hosting.http_chunk_views import ChunkedBody
from cloister.hosting.http_chunks import END, encode_chunk
from cloister.hosting.http_head import MAXIMUM_HEAD, RequestHead, parse_request_head
from cloister.hosting.http_inbound_state import InboundState
from cloister.hosting.http_message import status_line
from cloister.hosting.problem import MEDIA_TYPE, encode, problem_of

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LINGER_SECONDS: Final = 2.0  # in which what a refused client still sends is read, lest a reset destroy its answer
NEVER: Final = math.inf
_PROBLEM: Final = b"content-type: %b\r\n" % MEDIA_TYPE.encode()


class SlowRequest(MalformedInput):
    """The request did not arrive in its time."""

    status = 408
    retry = True


class Incoming(Protocol):
    """What a service makes of one request. It answers through the connection, once, whenever it is ready to."""

    def received(self, data: memoryview) -> None:
        """A piece of the body, good during the call only; or what has just filled the service's own buffer."""

    def complete(self) -> None:
        """The body is whole."""

    def abandoned(self) -> None:
        """Nobody waits for an answer any more: the client left, or was refused."""

    def pause(self) -> None:
        """The client reads a streamed answer more slowly than it is written."""

    def resume(self) -> None:
        """It has caught up."""


class Service(Protocol):
    """What requests are handed to."""

    def begin(self, head: RequestHead, connection: InboundConnection) -> Incoming | None:
        """A request has begun. Where it is answered at once, nothing more of it is wanted."""


class _Phase(Enum):
    IDLE = auto()  # or a head is arriving
    BODY = auto()
    ANSWERING = auto()  # the request is whole
    DROPPING = auto()  # answered; what still arrives is read and dropped


class InboundConnection(asyncio.BufferedProtocol):
    """One client's connection: idle, then a head, then a body, then an answer."""

    def __init__(self, service: Service, server: InboundState) -> None:
        self._service = service
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self._phase = _Phase.IDLE
        self._held = b""  # of a head that is not whole yet
        self._incoming: Incoming | None = None
        self._into: memoryview | None = None  # the service's own buffer for the rest of the body
        self._left = 0  # bytes of a body of known length
        self._chunks: ChunkedBody | None = None
        self._received = 0  # bytes of the body
        self._keep_alive = True
        self._streaming = False
        self._deadline = NEVER
        self._body_due = NEVER  # by when more of the body must come,
        self._body_until = NEVER  # and all of it
        self._paused_at: float | None = None
        self._written = 0  # bytes of all answers
        self._draining: tuple[float, int] | None = None  # by when more must be read, and how much was so far

    # --- what the loop calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; where there are too many, the one that was idle longest makes room."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._deadline = self._loop.time() + self._limits.idle_seconds
        if not self._server.admit(self, transport):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason is the client's
        """The client is gone: nobody waits for the answer."""
        self.transport = None
        self._server.leave(self)
        self._abandon()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where to put what arrives next."""
        return self._server.scratch if self._into is None else self._into

    def buffer_updated(self, nbytes: int) -> None:
        """So much has arrived."""
        try:
            if self._into is not None:
                self._fill(nbytes)
            elif self._phase is _Phase.IDLE:
                self._read_head(self._server.scratch[:nbytes])
            elif self._phase is _Phase.BODY:
                self._read_body(self._server.scratch[:nbytes])
            else:
                self._keep_alive = False  # a second request before the first was answered, or what is dropped
        except CloisterError as error:
            self.refuse(error)

    def eof_received(self) -> bool:
        """The client writes no more. Half a connection is none: whoever waits for an answer keeps its side open."""
        return False

    def pause_writing(self) -> None:
        """The client reads more slowly than is written."""
        if self._incoming is not None:
            self._incoming.pause()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._incoming is not None:
            self._incoming.resume()

    # --- what arrives ---

    def _read_head(self, data: memoryview) -> None:
        begun = len(self._held)
        joined = self._held + bytes(data[:MAXIMUM_HEAD])
        head = parse_request_head(joined)
        if head is None:
            self._held = joined
            if not begun:
                self._deadline = self._loop.time() + self._limits.head_seconds
            return
        self._held = b""
        self._begin(head)
        if self._phase is _Phase.BODY:
            self._read_body(data[head.size - begun :])

    def _begin(self, head: RequestHead) -> None:
        self._server.idle.pop(self, None)
        length = head.length
        if length is not None and length > self._limits.body_bytes:
            raise TooLarge(f"a body of {length} bytes, the cap is {self._limits.body_bytes}")
        self._keep_alive = head.keep_alive
        self._left, self._chunks = (0, ChunkedBody()) if length is None else (length, None)
        self._received = 0
        self._deadline = NEVER
        self._phase = _Phase.BODY
        self._incoming = self._service.begin(head, self)
        if self._phase is _Phase.BODY and b"xpect:" in head.section and self.transport is not None:
            self.transport.write(CONTINUE)  # RFC 9110 section 10.1.1

    def _read_body(self, data: memoryview) -> None:
        if self._chunks is not None:
            for piece in self._chunks.feed(data):
                self._take(piece)
            whole = self._chunks.finished
        else:
            if len(data) > self._left:
                self._keep_alive = False  # a second request before the first was answered
                data = data[: self._left]
            self._left -= len(data)
            if len(data):
                self._take(data)
            whole = not self._left
        self._after_piece(len(data), whole=whole)

    def _take(self, piece: memoryview) -> None:
        self._received += len(piece)
        if self._received > self._limits.body_bytes:
            raise TooLarge(f"a body over the cap of {self._limits.body_bytes} bytes")
        if self._phase is _Phase.BODY and self._incoming is not None:
            self._incoming.received(piece)

    def _fill(self, count: int) -> None:
        assert self._into is not None
        filled, self._into = self._into[:count], self._into[count:]
        self._left -= count
        self._received += count
        if self._left == 0:
            self._into = None
        if self._incoming is not None:
            self._incoming.received(filled)
        self._after_piece(count, whole=self._left == 0)

    def _after_piece(self, size: int, *, whole: bool) -> None:
        if self._phase is not _Phase.BODY:
            return
        if not whole:
            now, limits = self._loop.time(), self._limits
            if self._body_until == NEVER:
                self._body_until = now + limits.body_seconds
            self._body_due = min(self._body_due + size / limits.minimum_rate, now + limits.stall_seconds)
            return
        self._phase = _Phase.ANSWERING
        self._body_due = self._body_until = NEVER
        if self._incoming is not None:
            self._incoming.complete()

    def _abandon(self) -> None:
        incoming, self._incoming, self._into = self._incoming, None, None
        if incoming is not None:
            incoming.abandoned()

    # --- what a service calls ---

    @property
    def left(self) -> int:
        """Bytes of a body of known length that are still to come."""
        return self._left

    def receive_into(self, buffer: memoryview) -> None:
        """Put what is `left` of the body straight into `buffer`; to be called when a piece is received."""
        self._into = buffer

    def head(self, status: int, fields: bytes, *, length: int | None) -> bytes:
        """The head of an answer; `fields` are whole lines, and no length means that it will be streamed."""
        framing = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        lives = self._keep_alive and self._phase is not _Phase.BODY and not self._server.leaving
        ending = b"\r\n" if lives else b"connection: close\r\n\r\n"
        return b"%b%bdate: %b\r\n%b%b" % (status_line(status), fields, self._server.date, framing, ending)

    def respond(self, status: int, fields: bytes, body: bytes, *, bodiless: bool = False) -> None:
        """Answer; a bodiless one is to HEAD."""
        self.respond_with(self.head(status, fields, length=len(body)) + (b"" if bodiless else body))

    def respond_with(self, message: bytes | bytearray) -> None:
        """Answer with a whole message, whose head is of `head`'s making."""
        self._write(message)
        self._answered()

    def start(self, status: int, fields: bytes, first: bytes) -> None:
        """Begin a streamed answer with its first piece."""
        self._streaming = True
        self._write(self.head(status, fields, length=None) + encode_chunk(first))

    def send(self, data: bytes) -> None:
        """The next piece of a streamed answer."""
        self._write(encode_chunk(data))

    def end(self, data: bytes) -> None:
        """The last piece of a streamed answer."""
        self._write(encode_chunk(data) + END)
        self._answered()

    def _write(self, data: bytes | bytearray) -> None:
        self._written += len(data)
        if self.transport is not None:
            self.transport.write(data)

    def refuse(self, error: CloisterError) -> None:
        """Answer in the clear and give the request up, unless an answer is on its way: then only a cut tells."""
        if self._phase is _Phase.DROPPING:
            return
        self._keep_alive = False
        streaming = self._streaming
        self._abandon()
        if streaming:
            self.cut()
        else:
            self.respond(error.status, _PROBLEM, encode(problem_of(error)))

    def cut(self) -> None:
        """End the connection in the middle of an answer: nothing else can say that the rest is missing."""
        self._incoming = None
        if self.transport is not None:
            self.transport.abort()

    def pause_reading(self) -> None:
        """Let the client wait; its time stands still meanwhile."""
        if self._paused_at is None and self.transport is not None and not self.transport.is_closing():
            self._paused_at = self._loop.time()
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Let the client go on."""
        if self._paused_at is None:
            return
        paused = self._loop.time() - self._paused_at
        self._body_due += paused
        self._body_until += paused
        self._paused_at = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _answered(self) -> None:
        self.resume_reading()
        closes = not self._keep_alive or self._phase is _Phase.BODY or self._server.leaving
        self._incoming = self._into = None
        self._streaming = False
        self._body_due = self._body_until = NEVER
        if closes:
            self._linger()
            return
        self._phase = _Phase.IDLE
        if self.transport is not None:
            self._server.idle[self] = None
        self._deadline = self._loop.time() + self._limits.idle_seconds

    def _linger(self) -> None:
        """Say that no more is written, and drop what still arrives for a moment."""
        self._phase = _Phase.DROPPING
        self._deadline = self._loop.time() + LINGER_SECONDS
        if self.transport is None:
            return
        self._server.idle.pop(self, None)  # it may make room, but those that were idle before it come first
        self._server.idle[self] = None
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    # --- time ---

    def check_deadlines(self, now: float) -> None:
        """Called every `SWEEP_SECONDS`: what is unread must be read, and what is awaited must come."""
        if self.transport is None:
            return
        if self._reads_too_slowly(now):
            self.transport.abort()
        elif self._phase is _Phase.BODY and self._paused_at is None:
            if now > min(self._body_due, self._body_until):
                self.refuse(SlowRequest("the request did not arrive in its time"))
        elif now >= self._deadline:
            self._expire()

    def _expire(self) -> None:
        if self._phase is _Phase.IDLE and self._held:
            self.refuse(SlowRequest("the request did not arrive in its time"))
        elif self.transport is not None and not (self._phase is _Phase.DROPPING and self._draining):
            self.transport.abort() if self._phase is _Phase.DROPPING else self.transport.close()

    def _reads_too_slowly(self, now: float) -> bool:
        """Whether what was written waits longer than a reader at the minimum rate lets it."""
        waiting = self.unsent()
        if not waiting:
            self._draining = None
            return False
        read, latest = self._written - waiting, now + self._limits.write_seconds
        due, before = self._draining or (latest, read)
        due = min(due + max(read - before, 0) / self._limits.minimum_rate, latest)
        self._draining = due, read
        return now > due

    def unsent(self) -> int:
        """Bytes of answers that the client has yet to take."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once: the server's time to stop is over."""
        if self.transport is not None:
            self.transport.abort()

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is under way."""
        self._keep_alive = False
        if self._phase is _Phase.IDLE and self.transport is not None:
            self.transport.close()
