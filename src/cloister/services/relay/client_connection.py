"""One client's connection: idle, a request on its way to a gateway, its answer on the way back.

Callbacks only. What the gateway is sent is built from nothing (`Gateway.request_head`), so there is no list of client
headers to remove and no new one can slip through; what comes back is rebuilt in the same way.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, cast

from cloister.errors import CloisterError, TooLarge
from cloister.hosting.http_chunks import END, ChunkDecoder, encode_chunk
from cloister.hosting.http_head import RequestHead, ResponseHead, parse_request_head
from cloister.services.relay.bundle import Bundle
from cloister.services.relay.client_limits import Client
from cloister.services.relay.gateway_connection import GatewayConnection
from cloister.services.relay.media_types import REQUESTS, media_type
from cloister.services.relay.pace import Pace
from cloister.services.relay.refusals import GatewayTooSlow, NoSuchRoute, SlowRequest, WrongMediaType, WrongMethod
from cloister.services.relay.relay import Relay, retry_line
from cloister.services.relay.said import CLOSE, problem_answer, sealed_head

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LINGER_SECONDS: Final = 2.0  # in which what a refused client still sends is read, lest a reset destroy its answer
SMALL: Final = 64 * 1024  # bytes of a body that is copied behind its head, so that the message is one write
ROUTES: Final = {b"/bundle": (b"GET", b"HEAD"), b"/": (b"POST",), b"/gateway": (b"POST",)}

IDLE, SENDING, WAITING, LEAVING = range(4)  # between requests; one arrives; it is answered; no other will be


class ClientConnection(asyncio.Protocol):
    """The client's side of one exchange after another."""

    __slots__ = (
        "_answer_by", "_answering", "_body_by", "_chunked", "_chunks", "_client", "_counted", "_deadline", "_first",
        "_front_end", "_full", "_gateway", "_head_only", "_held", "_keep_alive", "_kept", "_kind", "_left", "_length",
        "_opening", "_received", "_relay", "_sending", "_state", "_taking", "_transport", "_written",
    )  # fmt: skip

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._transport: asyncio.Transport | None = None
        self._client: Client | None = None
        self._front_end = False  # whether the peer speaks for clients of its own
        self._counted: Client | None = None  # whose request is under way
        self._state = IDLE
        self._kept = b""  # of a head that has not ended
        self._keep_alive = True
        self._deadline = math.inf  # for a head, the next request, or the peer's leave
        # the request
        self._kind = b""
        self._length: int | None = None
        self._left: int | None = None  # bytes of its body that have yet to come; `None` in chunks
        self._chunks: ChunkDecoder | None = None
        self._received = 0  # bytes of its body
        self._first = b""  # what came of it before there was a gateway, framed
        self._body_by = self._answer_by = math.inf
        self._opening: asyncio.Task[None] | None = None
        self._gateway: GatewayConnection | None = None
        self._held = False
        self._sending = Pace()
        # the answer
        self._head_only = False
        self._answering = False  # its head is out
        self._chunked = False
        self._full = False  # the client takes it too slowly
        self._written = 0  # bytes, of all answers
        self._taking = Pace()

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = self._relay.now + self._relay.settings.idle_seconds
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        self._front_end = self._relay.clients.is_front_end(address)
        self._client = self._relay.clients.at(address, self._relay.now)
        self._client.connections += 1
        refused = self._relay.refuses(self, None if self._front_end else self._client)
        if refused is not None:
            self._state = SENDING
            self._refuse(refused)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason is the client's
        """The client is gone: nobody waits for the answer."""
        self._transport = None
        self._relay.connections.discard(self)
        if self._client is not None:
            self._client.connections -= 1
        self._state = LEAVING
        self._leave_gateway()
        self._release()

    def idle_until(self) -> float:
        """When it is to be closed if no request comes; never while one is under way."""
        return self._deadline if self._state == IDLE else math.inf

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is under way."""
        self._keep_alive = False
        if self._state == IDLE:
            self._close()

    def unsent(self) -> int:
        """Bytes of answers that the client has yet to take."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close at once; the client sees that what it has is not whole."""
        self._state = LEAVING
        if self._transport is not None:
            self._transport.abort()

    # --- the request ---

    def data_received(self, data: bytes) -> None:
        """More of a request; what comes while one is being answered is not read, and ends the connection."""
        if self._state == IDLE:
            self._head(self._kept + data if self._kept else data)
        elif self._state == SENDING:
            self._body(data)
        else:
            self._keep_alive = False

    def _head(self, data: bytes) -> None:
        try:
            head = parse_request_head(data)
            if head is not None:
                self._kept = b""
                self._request(head, data[head.size :])
                return
        except CloisterError as error:
            if self._state == IDLE:  # no head: where its body ends is unknown
                self._state = SENDING
            self._refuse(error)
            return
        if not self._kept:
            self._deadline = self._relay.now + self._relay.settings.head_seconds
        self._kept = data

    def _request(self, head: RequestHead, body: bytes) -> None:
        """Take a request whose head is complete.

        Raises:
            CloisterError: why it is refused.
        """
        self._keep_alive = head.keep_alive
        self._length = head.length
        if head.length == len(body):
            self._state = WAITING
        else:
            self._state = SENDING
            self._received, self._left = 0, head.length
            if head.length is not None:
                body = self._count(body)
        self._counted = self._relay.admit(self._client, head if self._front_end else None)
        methods = ROUTES.get(head.target)
        if methods is None:
            raise NoSuchRoute("a relay has GET /bundle and POST /gateway")
        self._head_only = head.method == b"HEAD"
        if head.method not in methods:
            allowed = b", ".join(methods).decode()
            raise WrongMethod(f"this route takes {allowed}", allowed)
        if head.target == b"/bundle":
            self._bundle()
        else:
            self._forward(head, body)

    def _forward(self, head: RequestHead, body: bytes) -> None:
        kind = REQUESTS.get(head.content_type or b"") or REQUESTS.get(media_type(head.content_type))
        if kind is None:
            raise WrongMediaType(f"an encapsulated request is {b' or '.join(REQUESTS).decode()}")
        settings, now = self._relay.settings, self._relay.now
        if head.length is None:
            self._chunks = ChunkDecoder()
            body = self._decode(self._chunks, body) if body else b""
        elif head.length > settings.request_bytes:
            raise TooLarge(f"a body of {head.length} bytes, the cap is {settings.request_bytes}")
        self._kind, self._first = kind, body
        self._answer_by = now + settings.gateway_seconds
        if self._state == SENDING:
            self._body_by = now + settings.body_seconds
            self._sending.begin(now, self._received)
            if not body and self._transport is not None and head.fields.get(b"expect") == b"100-continue":
                self._transport.write(CONTINUE)
        connection = self._relay.gateways.kept(now)
        if connection is not None:
            self.begins(connection)
        else:
            self._opening = self._relay.gateways.open(self)
            self.hold()

    def _body(self, data: bytes) -> None:
        try:
            data = self._count(data) if self._chunks is None else self._decode(self._chunks, data)
        except CloisterError as error:
            self._refuse(error)
            return
        if self._gateway is not None:
            self._gateway.send(data)
        else:
            self._first += data

    def _count(self, data: bytes) -> bytes:
        """What of `data` is the body's, where its length was announced."""
        assert self._left is not None
        self._received += len(data)
        self._left -= len(data)
        if self._left <= 0:
            self._state = WAITING
            if self._left:  # a second request, before the answer to this one
                self._keep_alive = False
                return data[: self._left]
        return data

    def _decode(self, chunks: ChunkDecoder, data: bytes) -> bytes:
        """The content of chunks, in one chunk."""
        content = chunks.feed(data)
        self._received += len(content)
        if self._received > self._relay.settings.request_bytes:
            raise TooLarge(f"a body over the cap of {self._relay.settings.request_bytes} bytes")
        framed = encode_chunk(content) if content else b""
        if not chunks.finished:
            return framed
        self._chunks = None
        self._state = WAITING
        self._keep_alive = self._keep_alive and not chunks.rest
        return framed + END

    # --- the gateway's side asks or tells ---

    def now(self) -> float:
        """The loop's time, as of a moment ago."""
        return self._relay.now

    def begins(self, connection: GatewayConnection) -> None:
        """This connection is the exchange's: send the request, as far as it has come."""
        self._gateway, self._opening = connection, None
        head = connection.begin(self, self._kind, self._length)
        first, self._first = self._first, b""
        if len(first) <= SMALL:
            connection.send(head + first)
        else:
            connection.send(head)
            connection.send(first)
        if self._held:
            self.go_on()
        if self._full:
            connection.hold()

    def hold(self) -> None:
        """The gateway takes the request more slowly than it comes."""
        self._held = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on(self) -> None:
        """The gateway has caught up."""
        self._held = False
        self._sending.begin(self._relay.now, self._received)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def answer(self, head: ResponseHead, kind: bytes, body: bytes) -> None:
        """The answer begins."""
        self._answering = True
        self._chunked = head.length is None
        more = retry_line(head) if head.status >= 400 else b""
        if not self._lives_on():
            self._keep_alive = False
            more += CLOSE
        start = sealed_head(head.status, kind, self._relay.dated, head.length, more)
        if len(body) <= SMALL:
            self._write(start + body)
        else:
            self._write(start)
            self._write(body)

    def more(self, body: bytes) -> None:
        """The answer goes on."""
        self._write(encode_chunk(body) if self._chunked else body)

    def answered(self) -> None:
        """The answer is complete."""
        if self._chunked:
            self._write(END)
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateway.end(self._relay.now, reusable=self._state == WAITING)
        self._end()

    def fail(self, error: CloisterError) -> None:
        """There will be no answer, or no more of it: then only a cut can say that the rest is missing."""
        self._opening = None
        if self._answering:
            self._leave_gateway()
            self.abort()
        else:
            self._refuse(error)

    # --- the answer ---

    def pause_writing(self) -> None:
        """The client takes the answer more slowly than it comes."""
        self._full = True
        if self._gateway is not None:
            self._gateway.hold()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._full = False
        if self._gateway is not None:
            self._gateway.go_on()

    def _bundle(self) -> None:
        kept = self._relay.bundle.fresh()
        if kept is not None:
            self._give(kept)
        else:
            self._opening = asyncio.get_running_loop().create_task(self._fetch_bundle())

    async def _fetch_bundle(self) -> None:
        try:
            bundle = await self._relay.bundle.fetched()
        except CloisterError as error:
            self.fail(error)
        else:
            self._opening = None
            self._give(bundle)

    def _give(self, bundle: Bundle) -> None:
        more = self._relay.dated + (b"" if self._lives_on() else CLOSE)
        self._write(bundle.head(more, age=self._relay.bundle.age(bundle)))
        if not self._head_only:
            self._write(bundle.body)
        self._end()

    def _refuse(self, error: CloisterError) -> None:
        """Say why there is no answer; if one has begun, cut it."""
        self._leave_gateway()
        if self._answering:
            self.abort()
            return
        self._write(problem_answer(error, self._relay.dated, b"" if self._lives_on() else CLOSE))
        self._end()

    def _lives_on(self) -> bool:
        return self._keep_alive and self._state == WAITING and not self._relay.closing

    def _end(self) -> None:
        """An answer is out."""
        self._answering = False
        self._chunks = None
        self._first = b""
        self._body_by = self._answer_by = math.inf
        self._release()
        if self._held:
            self.go_on()
        if self._lives_on():
            self._state = IDLE
            self._deadline = self._relay.now + self._relay.settings.idle_seconds
        else:
            self._linger()

    def _release(self) -> None:
        client, self._counted = self._counted, None
        if client is not None:
            self._relay.release(client)

    def _leave_gateway(self) -> None:
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateway.end(self._relay.now, reusable=False)
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)

    def _close(self) -> None:
        self._state = LEAVING
        self._deadline = self._relay.now + LINGER_SECONDS
        if self._transport is not None:
            self._transport.close()

    def _linger(self) -> None:
        """Say that no more is written, and drop what still arrives for a moment."""
        self._state = LEAVING
        self._deadline = self._relay.now + LINGER_SECONDS
        if self._transport is None or self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    # --- time ---

    def check(self, now: float) -> None:
        """Called every moment: what is awaited must come, and what is unsent must go."""
        if self._transport is None:
            return
        settings = self._relay.settings
        unsent = self._transport.get_write_buffer_size()
        taken = self._written - unsent
        if not unsent:
            self._taking.begin(now, taken)
        elif self._taking.too_slow(now, taken, rate=settings.minimum_rate, seconds=settings.rate_seconds):
            self.abort()
            return
        if self._state in (SENDING, WAITING):
            self._check_exchange(now)
        elif now >= self._deadline and not unsent:
            self._expire()

    def _check_exchange(self, now: float) -> None:
        settings = self._relay.settings
        if now >= self._answer_by:
            self._refuse(GatewayTooSlow("the gateway did not answer in time"))
        elif self._state == SENDING and not self._held:
            pace = self._sending.too_slow(
                now, self._received, rate=settings.minimum_rate, seconds=settings.rate_seconds
            )
            if pace or now >= self._body_by:
                self._refuse(SlowRequest("the request did not arrive in its time"))

    def _expire(self) -> None:
        if self._state == LEAVING:
            self.abort()
        elif self._kept:
            self._state = SENDING
            self._refuse(SlowRequest("the request's head did not arrive in its time"))
        else:
            self._close()
