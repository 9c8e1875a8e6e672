"""One kept connection to a gateway: a sealed request out, its answer back to the client as it comes.

Callbacks only: a coroutine for each request would cost as much as the request. What comes back is held to be an
encapsulated response or a problem, of a length that is known or in chunks; all else is the gateway's fault.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from cloister.errors import CloisterError
from cloister.hosting.http_chunks import ChunkDecoder
from cloister.hosting.http_head import ResponseHead, parse_response_head
from cloister.services.relay.media_types import ANSWERS, media_type
from cloister.services.relay.refusals import GatewayFailed


class Asker(Protocol):
    """The client's side of one exchange."""

    def now(self) -> float:
        """The loop's time, as of a moment ago."""

    def begins(self, connection: GatewayConnection) -> None:
        """The connection is this exchange's, to send the request as far as it has come."""

    def answer(self, head: ResponseHead, kind: bytes, body: bytes) -> None:
        """The answer begins, with so much of its body."""

    def more(self, body: bytes) -> None:
        """More of its body, not empty."""

    def answered(self) -> None:
        """The answer is complete."""

    def has_sent_all(self) -> bool:
        """Whether the whole request went to the gateway, which then owes an answer."""

    def fail(self, error: CloisterError) -> None:
        """There will be no answer, or no more of it."""

    def hold(self) -> None:
        """The gateway reads more slowly than the client sends."""

    def go_on(self) -> None:
        """The gateway has caught up."""


class Gateway(Protocol):
    """Whose connection it is."""

    idle: list[GatewayConnection]
    open: set[GatewayConnection]
    suspected: bool  # whether the last exchange that ended fell silent

    def request_head(self, media_type: bytes, length: int | None) -> bytes:
        """The head of a request: all that a gateway is told beside the sealed bytes."""

    def answers(self) -> None:
        """The first bytes of an answer came, to be told where it is suspected."""

    def fell_silent(self, now: float) -> None:
        """A whole request got no byte of an answer: the connection ended, or the time did."""


class GatewayConnection(asyncio.Protocol):
    """Idle, or the gateway's side of one exchange."""

    __slots__ = (
        "_asker", "_chunks", "_heard", "_held", "_kept", "_left", "_lives_on", "_transport", "gateway", "idle_since",
    )  # fmt: skip

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._transport: asyncio.Transport | None = None  # until it closes, or is to be closed
        self._asker: Asker | None = None
        self._kept = b""  # of a head that has not ended
        self._left: int | None = None  # bytes of the answer's body; `None` before its head, and in chunks
        self._chunks: ChunkDecoder | None = None
        self._lives_on = True
        self._heard = False  # a byte of the answer
        self._held = False
        self.idle_since = 0.0

    # --- for the client's side ---

    def begin(self, asker: Asker, kind: bytes, length: int | None) -> bytes:
        """From now on this is `asker`'s; the head of its request."""
        self._asker, self._heard = asker, False
        return self.gateway.request_head(kind, length)

    def send(self, data: bytes) -> None:
        """More of the request, framed."""
        if self._transport is not None:
            self._transport.write(data)

    def hold(self) -> None:
        """The client takes the answer more slowly than it comes."""
        self._held = True
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """The client has caught up."""
        self._held = False
        if self._transport is not None:
            self._transport.resume_reading()

    def end(self, now: float, *, reusable: bool) -> None:
        """The exchange is over for the client."""
        self._asker = None
        if not reusable or not self._lives_on or self._transport is None:
            self.abort()
            return
        if self._held:
            self.go_on()
        self.idle_since = now
        self.gateway.idle.append(self)

    def waits_in_vain(self) -> None:
        """The time for the answer is over."""
        asker = self._asker
        if asker is not None and not self._heard and asker.has_sent_all():
            self.gateway.fell_silent(asker.now())

    def close(self) -> None:
        """Close in good order."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def abort(self) -> None:
        """Close at once: the gateway sees that nobody waits."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # --- what the gateway does ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The gateway took the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self.gateway.open.add(self)

    def eof_received(self) -> None:
        """It says no more: nothing can be asked. The transport closes by itself."""
        self._transport = None
        if self in self.gateway.idle:
            self.gateway.idle.remove(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason is the gateway's
        """It is gone."""
        self.eof_received()
        self.gateway.open.discard(self)
        self.waits_in_vain()
        self._fail("the gateway broke off")

    def pause_writing(self) -> None:
        """It reads slowly."""
        if self._asker is not None:
            self._asker.hold()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._asker is not None:
            self._asker.go_on()

    def data_received(self, data: bytes) -> None:
        """More of an answer."""
        asker = self._asker
        if asker is None:  # nobody asked
            self.abort()
        elif self._left is not None:
            self._counted(asker, data)
        elif self._chunks is not None:
            self._decoded(asker, self._chunks, data)
        else:
            if not self._heard:
                self._heard = True
                if self.gateway.suspected:
                    self.gateway.answers()
            self._head(asker, self._kept + data if self._kept else data)

    def _head(self, asker: Asker, data: bytes) -> None:
        """Take a head; interim ones (1xx) are passed over."""
        self._kept = b""
        try:
            head = parse_response_head(data)
        except CloisterError:
            self._fail("the gateway answered what is not HTTP/1.1")
            return
        if head is None:
            self._kept = data
        elif head.status < 200:
            self._head(asker, data[head.size :])
        else:
            self._answer(asker, head, data[head.size :])

    def _answer(self, asker: Asker, head: ResponseHead, body: bytes) -> None:
        kind = ANSWERS.get(head.content_type) or ANSWERS.get(media_type(head.content_type))
        if kind is None:
            self._fail("the gateway answered what is no encapsulated response")
            return
        self._lives_on = head.keep_alive
        if head.length is not None:
            left = head.length - len(body)
            if left < 0:
                self._fail("the gateway answered more than it said")
                return
            self._left = left or None
            asker.answer(head, kind, body)
            if not left:
                asker.answered()
        elif head.chunked:
            self._chunks = ChunkDecoder()
            asker.answer(head, kind, b"")
            if body:
                self._decoded(asker, self._chunks, body)
        else:
            self._fail("the gateway answered without saying how much")

    def _counted(self, asker: Asker, data: bytes) -> None:
        assert self._left is not None
        left = self._left - len(data)
        if left < 0:
            self._fail("the gateway answered more than it said")
            return
        self._left = left or None
        asker.more(data)
        if not left:
            asker.answered()

    def _decoded(self, asker: Asker, chunks: ChunkDecoder, data: bytes) -> None:
        try:
            body = chunks.feed(data)
        except CloisterError:
            self._fail("the gateway's answer is not in chunks, as it said")
            return
        if body:
            asker.more(body)
        if chunks.finished:
            self._chunks = None
            self._lives_on = self._lives_on and not chunks.rest
            asker.answered()

    def _fail(self, why: str) -> None:
        asker, self._asker = self._asker, None
        self.abort()
        if asker is not None:
            asker.fail(GatewayFailed(why))
