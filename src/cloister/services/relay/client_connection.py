"""One client's connection: idle, or a request on its way to a gateway; `client_answer` is the way back.

Callbacks only. What the gateway is sent is built from nothing (`Gateway.request_head`), so there is no list of client
headers to remove and no new one can slip through.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, cast

from cloister.errors import CloisterError, TooLarge
from cloister.hosting.http_chunks import END, ChunkDecoder, encode_chunk
from cloister.hosting.http_head import RequestHead, parse_request_head
from cloister.services.relay.client_answer import IDLE, LEAVING, SENDING, SMALL, WAITING, ClientAnswer
from cloister.services.relay.client_limits import Client
from cloister.services.relay.gateway_connection import GatewayConnection
from cloister.services.relay.media_types import REQUESTS, media_type
from cloister.services.relay.pace import Pace
from cloister.services.relay.refusals import GatewayTooSlow, NoSuchRoute, SlowRequest, WrongMediaType, WrongMethod
from cloister.services.relay.relay import Relay

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
ROUTES: Final = {b"/bundle": (b"GET", b"HEAD"), b"/": (b"POST",), b"/gateway": (b"POST",)}


class ClientConnection(ClientAnswer):
    """The client's side of one exchange after another."""

    __slots__ = (
        "_body_by", "_chunks", "_client", "_counted", "_first", "_front_end", "_held", "_kept", "_kind", "_left",
        "_length", "_received", "_sending",
    )  # fmt: skip

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self._client: Client | None = None
        self._front_end = False  # whether the peer speaks for clients of its own
        self._counted: Client | None = None  # whose request is under way
        self._kept = b""  # of a head that has not ended
        self._kind = b""
        self._length: int | None = None
        self._left: int | None = None  # bytes of the body that have yet to come; `None` in chunks
        self._chunks: ChunkDecoder | None = None
        self._received = 0  # bytes of the body
        self._first = b""  # what came of it before there was a gateway, framed
        self._body_by = math.inf
        self._held = False
        self._sending = Pace()

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
        self._request_over()

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
        if self._state == WAITING:
            self._answer_by = now + settings.gateway_seconds
        else:
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
        if self._state == WAITING:  # only now does the gateway owe an answer: no client can use its time up
            self._answer_by = self._relay.now + self._relay.settings.gateway_seconds
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

    def _request_over(self) -> None:
        """Nothing more of the request is wanted: whoever asked may ask again."""
        client, self._counted = self._counted, None
        if client is not None:
            self._relay.release(client)
        self._chunks = None
        self._first = b""
        self._body_by = math.inf
        if self._held:
            self.go_on()

    # --- the gateway's side asks or tells ---

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

    # --- time ---

    def check(self, now: float) -> None:
        """Called every moment: what is awaited must come, and what is unsent must go."""
        if self._transport is None:
            return
        if self._crawls(now):
            self.abort()
        elif self._state in (SENDING, WAITING):
            self._check_exchange(now)
        elif now >= self._deadline and not self.unsent():
            self._expire()

    def _check_exchange(self, now: float) -> None:
        settings = self._relay.settings
        if now >= self._answer_by:
            if self._gateway is not None:
                self._gateway.waits_in_vain()
            self._refuse(GatewayTooSlow("the gateway did not answer in time"))
        elif self._state == SENDING and self._held:
            if now >= self._body_by:
                self._refuse(GatewayTooSlow("the gateway did not take the request in time"))
        elif self._state == SENDING:
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
