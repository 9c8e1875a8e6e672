"""A request that comes in sealed chunks to its answer in sealed chunks; neither is ever held whole.

Everything that a request has to pass is held against its inner head, before a byte of it goes to the engine. Content
goes on as it opens, and whoever is slower makes the other wait. The end of the request reaches the engine only after
the final chunk has opened: one that was cut breaks the engine's connection off instead. The receipt covers all of the
request, so an answer is begun when that has come, however early it is known.
"""

from __future__ import annotations

import asyncio
import secrets
from time import perf_counter

from cloister.errors import CloisterError, UsageError
from cloister.formats.binary_http import Request, Response, encode
from cloister.formats.binary_http_stream import RequestDecoder
from cloister.hosting.http_chunks import END
from cloister.hosting.http_head import ResponseHead
from cloister.hosting.http_inbound import InboundConnection
from cloister.ohttp.chunked import RequestOpener, head_size, open_request
from cloister.ohttp.encapsulation import HEADER_SIZE, RESPONSE_NONCE_SIZE, parse_header
from cloister.services.gateway.engine_link import EngineLink
from cloister.services.gateway.exchange import NOT_ADMITTED, RunningReceipt, Shared
from cloister.services.gateway.inside import Answer, engine_answer, engine_error, engine_head, openai_error
from cloister.services.gateway.keys import GatewayKey
from cloister.services.gateway.sealed_stream import SealedStream

LINE_END = b"\r\n"


class ChunkedExchange:
    """Hears the client's connection and the engine's, from the request's head to the answer's last byte."""

    def __init__(self, shared: Shared, connection: InboundConnection) -> None:
        self._shared = shared
        self._connection = connection
        self._started = perf_counter()
        self._sealed = bytearray()  # what came before the key was here
        self._fetch: asyncio.Task[None] | None = None
        self._key: GatewayKey
        self._enc = b""
        self._opener: RequestOpener | None = None
        self._decoder = RequestDecoder()
        self._request: Request | None = None  # once it was admitted
        self._receipt: RunningReceipt | None = None
        self._pieces: list[bytes] = []  # that wait for an engine
        self._held = 0  # bytes of them
        self._arrived = False  # the request's body has ended
        self._whole = False  # and it was opened to its end
        self._link: EngineLink | None = None
        self._stream: SealedStream
        self._answer: Answer | None = None  # the engine's, begun
        self._ours: Answer | None = None  # in place of one
        self._streams = False  # it has no length
        self._ended = False  # the engine's answer is whole
        self._over = False  # the client was answered, or nobody waits

    # --- the request arrives ---

    def received(self, data: memoryview) -> None:
        """More of it; what does not open ends the exchange."""
        if self._opener is not None:
            self._take(self._opener.feed(data))
            return
        self._sealed += data
        if self._fetch is None and len(self._sealed) >= HEADER_SIZE:
            self._look_for_key()

    def complete(self) -> None:
        """Its body has ended."""
        self._arrived = True
        self._connection.resume_reading()  # to notice when the client leaves
        if self._opener is not None:
            self._finish(self._opener)
        elif self._fetch is None:
            parse_header(bytes(self._sealed))  # says what it lacks
            raise UsageError("the request ends within its encapsulated key")

    def _look_for_key(self) -> None:
        header = parse_header(bytes(self._sealed[:HEADER_SIZE]))
        if len(self._sealed) < head_size(header):
            return
        key = self._shared.keys.held(header.key_id)
        if key is not None:
            self._open(key)
            return
        self._connection.pause_reading()
        self._fetch = asyncio.get_running_loop().create_task(self._open_when_fetched(header.key_id))

    async def _open_when_fetched(self, key_id: int) -> None:
        try:
            key = await self._shared.keys.key_for(key_id)
            self._connection.resume_reading()
            self._open(key)
            if self._arrived and self._opener is not None:
                self._finish(self._opener)
        except CloisterError as error:
            self._connection.refuse(error)

    def _open(self, key: GatewayKey) -> None:
        size = head_size(parse_header(bytes(self._sealed[:HEADER_SIZE])))
        head, rest = bytes(self._sealed[:size]), bytes(self._sealed[size:])
        self._sealed = bytearray()
        self._key, self._enc = key, head[HEADER_SIZE:]
        nonce = secrets.token_bytes(RESPONSE_NONCE_SIZE)
        self._opener, sealer = open_request(key.private, key.key_id, head, nonce=nonce)
        self._stream = SealedStream(self._connection, sealer)
        self._take(self._opener.feed(rest))

    def _take(self, opened: bytes, *, end: bool = False) -> None:
        """What is inside the chunks that came."""
        if self._over:
            return
        try:
            pieces = self._decoder.feed(opened) if opened else []
            if end:
                self._decoder.end()
            if self._request is None and self._decoder.head is not None:
                self._admit(self._decoder.head)
            for piece in pieces:
                self._pass_on(piece)
            if end and self._receipt is not None:
                self._receipt.asked()
        except NOT_ADMITTED as error:
            self._respond_unproved(self._shared.not_admitted(error))
        except UsageError as error:
            self._respond_unproved(openai_error(error.status, str(error)))

    def _finish(self, opener: RequestOpener) -> None:
        self._take(opener.end(), end=True)
        if self._over:
            return
        self._whole = True
        if self._link is not None and self._answer is None:
            self._link.send([END], last=True)
        self._advance()

    # --- it is held against the rules, and passed on ---

    def _admit(self, head: Request) -> None:
        self._shared.admit(self._enc, head.headers)
        self._receipt = self._shared.receipts.begin(head.method, head.path, head.headers)
        self._request = head
        try:
            self._shared.endpoints.require(head.method, head.path)
        except UsageError as error:
            self._ours = openai_error(error.status, str(error))
        else:
            self._shared.engines.take(self)
            if self._link is None and self._ours is None:
                self._connection.pause_reading()  # until there is an engine

    def _pass_on(self, piece: bytes) -> None:
        assert self._receipt is not None
        self._receipt.request(memoryview(piece))
        if self._ours is not None or self._answer is not None:
            return  # nobody reads it any more; the receipt covers it all the same
        if self._link is not None:
            self._link.send([b"%x\r\n" % len(piece), piece, LINE_END])
            return
        self._shared.hold(len(piece))
        self._held += len(piece)
        self._pieces.append(piece)

    # --- the engine ---

    def engine_ready(self, link: EngineLink) -> None:
        """It is this request's turn."""
        request = self._request
        assert request is not None
        self._link = link
        pieces, self._pieces = self._pieces, []
        self._release()
        length = sum(map(len, pieces)) if self._whole else None
        body: list[memoryview] = []
        for piece in pieces:
            framed = [piece] if self._whole else [b"%x\r\n" % len(piece), piece, LINE_END]
            body += map(memoryview, framed)
        head = engine_head(request.method, request.path, request.headers, length)
        link.ask(self, head, body, deadline=self._shared.engines.deadline(), whole=self._whole)
        self._connection.resume_reading()

    def engine_pauses(self) -> None:
        """It reads more slowly than the client writes."""
        self._connection.pause_reading()

    def engine_resumes(self) -> None:
        """It has caught up."""
        self._connection.resume_reading()

    def answer_begins(self, head: ResponseHead) -> None:
        """The engine answers, perhaps before it was asked to the end; then it waits for that."""
        self._answer = engine_answer(head)
        self._stream.begin(self._answer)
        self._streams = head.length is None
        if not self._whole:
            if self._link is not None:
                self._link.pause_reading()
            self._connection.resume_reading()

    def answer_piece(self, data: memoryview) -> None:
        """More of its answer."""
        assert self._receipt is not None
        self._receipt.answer(data)
        self._stream.add(data)

    def answer_pauses(self) -> None:
        """That was all that one read brought."""
        if self._whole and self._streams:
            self._stream.flush()

    def answer_ends(self) -> None:
        """All of it is here."""
        self._ended = True
        link, self._link = self._link, None
        if link is not None:
            self._shared.engines.give_back(link)
        self._advance()

    def engine_failed(self, error: CloisterError) -> None:
        """There is no answer, or no more of it."""
        self._link_is_gone()
        if self._opener is not None and self._stream.started:
            self._end(502)
            self._connection.cut()
            return
        if self._answer is not None:  # what came of it is not shown, nor does the receipt speak of it
            self._stream.drop()
            self._answer = None
            assert self._receipt is not None
            self._receipt.forget_answer()
        self._pieces = []
        self._release()
        self._ours = engine_error(error)
        self._connection.resume_reading()
        self._advance()

    def _link_is_gone(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._shared.engines.give_back(link)

    # --- the answer ---

    def _advance(self) -> None:
        """Answer as far as is known, once the request is whole."""
        if not self._whole:
            return
        if self._ours is not None:
            self._stream.begin(self._ours)
            assert self._receipt is not None
            self._receipt.answer(self._ours.body)
            self._stream.add(self._ours.body)
            self._close_stream(self._ours.status)
        elif self._ended and self._answer is not None:
            self._close_stream(self._answer.status)
        elif self._link is not None and self._answer is not None:
            self._link.resume_reading()
            self.answer_pauses()

    def _close_stream(self, status: int) -> None:
        assert self._receipt is not None
        stream, trailers = self._stream, self._receipt.fields(self._key, status)
        self._end(200)
        stream.end(trailers)

    def _respond_unproved(self, answer: Answer) -> None:
        """For what was not admitted, or is no request: there is nothing to prove."""
        stream = self._stream
        stream.drop()
        message = encode(Response(answer.status, answer.fields, answer.body))
        self._end(200)
        stream.end_with(message)

    def abandoned(self) -> None:
        """Nobody waits any more: the engine's connection is closed, so that it stops too."""
        self._end(499)

    def pause(self) -> None:
        """The client reads more slowly than the engine writes."""
        if self._link is not None:
            self._link.pause_reading()

    def resume(self) -> None:
        """It has caught up."""
        if self._link is not None:
            self._link.resume_reading()

    def _end(self, status: int) -> None:
        if self._fetch is not None and self._fetch is not asyncio.current_task():
            self._fetch.cancel()
        self._over = True
        self._shared.engines.forget(self)
        self._link_is_gone()
        self._pieces = []
        self._release()
        self._shared.observe(status, perf_counter() - self._started)

    def _release(self) -> None:
        self._shared.held -= self._held
        self._held = 0
