"""The answer to one client's request as it goes out: a gateway's as it comes, the bundle, or a refusal.

Callbacks only. A gateway's answer is rebuilt from its status, media type and framing (`said`), so there is no list of
its headers to remove and no new one can slip through. `client_connection` reads the request, and adds itself to this by
inheriting: a second object would cost every request and every piece of an answer another call.
"""

from __future__ import annotations

import abc
import asyncio
import math
from typing import Final

from cloister.errors import CloisterError
from cloister.hosting.http_chunks import END, encode_chunk
from cloister.hosting.http_head import ResponseHead
from cloister.services.relay.bundle import Bundle
from cloister.services.relay.gateway_connection import GatewayConnection
from cloister.services.relay.pace import Pace
from cloister.services.relay.relay import Relay
from cloister.services.relay.said import CLOSE, problem_answer, retry_line, sealed_head

LINGER_SECONDS: Final = 2.0  # in which what a refused client still sends is read, lest a reset destroy its answer
SMALL: Final = 64 * 1024  # bytes of a body that is copied behind its head, so that the message is one write

IDLE, SENDING, WAITING, LEAVING = range(4)  # between requests; one arrives; it is answered; no other will be


class ClientAnswer(asyncio.Protocol, abc.ABC):
    """The way back of one exchange after another."""

    __slots__ = (
        "_answer_by", "_answering", "_chunked", "_deadline", "_full", "_gateway", "_head_only", "_keep_alive",
        "_opening", "_relay", "_state", "_taking", "_transport", "_written",
    )  # fmt: skip

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._transport: asyncio.Transport | None = None
        self._state = IDLE
        self._keep_alive = True
        self._deadline = math.inf  # for a head, the next request, or the peer's leave
        self._opening: asyncio.Task[None] | None = None
        self._gateway: GatewayConnection | None = None
        self._head_only = False
        self._answer_by = math.inf
        self._answering = False  # its head is out
        self._chunked = False
        self._full = False  # the client takes it too slowly
        self._written = 0  # bytes, of all answers
        self._taking = Pace()
        self._taking.begin(relay.now, 0)

    @abc.abstractmethod
    def _request_over(self) -> None:
        """Nothing more of the request is wanted."""

    # --- the relay asks or tells ---

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

    # --- the gateway's side asks or tells ---

    def now(self) -> float:
        """The loop's time, as of a moment ago."""
        return self._relay.now

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

    def has_sent_all(self) -> bool:
        """Whether the whole request went to the gateway."""
        return self._state == WAITING

    def fail(self, error: CloisterError) -> None:
        """There will be no answer, or no more of it: then only a cut can say that the rest is missing."""
        self._opening = None
        if self._answering:
            self._leave_gateway()
            self.abort()
        else:
            self._refuse(error)

    # --- the client's side ---

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
        self._answer_by = math.inf
        self._request_over()
        if self._lives_on():
            self._state = IDLE
            self._deadline = self._relay.now + self._relay.settings.idle_seconds
        else:
            self._linger()

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

    def _crawls(self, now: float) -> bool:
        """Whether the client takes what is written too slowly."""
        settings = self._relay.settings
        unsent = self.unsent()
        taken = self._written - unsent
        if not unsent:
            self._taking.begin(now, taken)
            return False
        return self._taking.too_slow(now, taken, rate=settings.minimum_rate, seconds=settings.rate_seconds)
