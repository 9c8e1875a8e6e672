"""A request that comes in sealed chunks to its answer in sealed chunks, which goes out while it is made.

Everything that a request has to pass is held against its inner head, before its content is taken in. An engine is
asked for when the final chunk has opened: engines are few, so none waits for a client that sends slowly, and none ever
hears of a request that was cut. Until an engine has taken it the content lies in memory that is bounded and wiped.

Under strict privacy the answer's records begin when the request is whole, and go on when the exchange is over.
"""

from __future__ import annotations

import asyncio
import secrets
from time import perf_counter

from cloister.errors import CloisterError, UsageError
from cloister.formats.binary_http import Request, Response, encode
from cloister.formats.binary_http_stream import RequestDecoder
from cloister.hosting.http_head import ResponseHead
from cloister.hosting.http_inbound import InboundConnection
from cloister.ohttp.chunked import RequestOpener, ResponseSealer, head_size, open_request
from cloister.ohttp.encapsulation import HEADER_SIZE, RESPONSE_NONCE_SIZE, parse_header
from cloister.ohttp.privacy import STRICT, privacy_of
from cloister.services.gateway.buffers import Segments, wipe
from cloister.services.gateway.engine_link import EngineLink
from cloister.services.gateway.exchange import NOT_ADMITTED, RunningReceipt, Shared
from cloister.services.gateway.inside import Answer, engine_answer, engine_error, engine_head, openai_error
from cloister.services.gateway.keys import GatewayKey
from cloister.services.gateway.paced_stream import PacedStream
from cloister.services.gateway.request_memory import Busy
from cloister.services.gateway.sealed_stream import SealedStream


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
        self._body = Segments(shared.buffers)
        self.held = 0  # bytes of it, or under strict privacy of all that was opened
        self._opened = 0  # bytes, with head and padding
        self._arrived = False  # the request's body has ended
        self._link: EngineLink | None = None
        self._sealer: ResponseSealer
        self._stream: SealedStream | PacedStream
        self._answer: Answer | None = None  # the engine's, begun
        self._ours: Answer | None = None  # where no engine is to be asked
        self._refusal: Answer | None = None  # under strict privacy, for when the request is whole
        self._streams = False  # the engine's has no length
        self._strict = False  # what shows outside is the same, whatever the answer is
        self._over = False  # the client was answered, or nobody waits

    # --- the request arrives ---

    def received(self, data: memoryview) -> None:
        """More of it; what does not open ends the exchange."""
        if self._opener is not None:
            self._open_chunks(self._opener, data)
            return
        self._sealed += data
        if self._fetch is None and len(self._sealed) >= HEADER_SIZE:
            self._look_for_key()

    def complete(self) -> None:
        """Its body has ended."""
        self._arrived = True
        self._shared.memory.arrived(self)
        if self._opener is not None:
            self._finish(self._opener)
        elif self._fetch is None:
            parse_header(bytes(self._sealed))  # says what it lacks
            raise UsageError("the request ends within its encapsulated key")

    def give_way(self, error: Busy) -> None:
        """Others need the memory."""
        self._connection.refuse(error)

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
            if self._arrived and self._opener is not None and not self._over:
                self._finish(self._opener)
        except CloisterError as error:
            if not self._over:  # what comes after a chunk that was answered says nothing more
                self._connection.refuse(error)

    def _open(self, key: GatewayKey) -> None:
        size = head_size(parse_header(bytes(self._sealed[:HEADER_SIZE])))
        head, rest = bytes(self._sealed[:size]), bytes(self._sealed[size:])
        self._sealed = bytearray()
        self._key, self._enc = key, head[HEADER_SIZE:]
        nonce = secrets.token_bytes(RESPONSE_NONCE_SIZE)
        self._opener, self._sealer = open_request(key.private, key.key_id, head, nonce=nonce)
        self._stream = SealedStream(self._connection, self._sealer)
        self._open_chunks(self._opener, rest)

    def _open_chunks(self, opener: RequestOpener, data: memoryview | bytes) -> None:
        room = self._shared.opened
        try:
            for opened in opener.feed_into(data, room):
                self._take(opened)
        finally:
            wipe(room)

    def _take(self, opened: memoryview, *, end: bool = False) -> None:
        """What is inside a chunk, good during the call only."""
        if self._over:
            return
        self._opened += len(opened)
        if self._refusal is None:
            self._read(opened, end=end)
        if self._strict:  # what is padding, and what is refused, takes the same room, lest a lack of it tell them apart
            self._hold(self._opened - self.held)

    def _read(self, opened: memoryview, *, end: bool) -> None:
        try:
            pieces = self._decoder.feed_view(opened) if opened else []
            if end:
                self._decoder.end()
            if self._request is None and self._decoder.head is not None:
                self._admit(self._decoder.head)
            for piece in pieces:
                self._keep(piece)
            if end and self._receipt is not None:
                self._receipt.asked()
        except NOT_ADMITTED as error:
            self._refuse(self._shared.not_admitted(error))
        except UsageError as error:
            self._refuse(openai_error(error.status, str(error)))

    def _finish(self, opener: RequestOpener) -> None:
        room = self._shared.opened
        try:
            self._take(opener.end_into(room), end=True)
        finally:
            wipe(room)
        if self._over:
            return
        self._stream.expect()
        if self._refusal is not None:
            self._respond_unproved(self._refusal)
        elif self._ours is not None:
            self._respond_ours(self._ours)
        else:
            self._shared.engines.take(self)

    # --- it is held against the rules ---

    def _admit(self, head: Request) -> None:
        self._strict = privacy_of(head.headers) == STRICT
        if self._strict:
            self._stream = PacedStream(self._connection, self._sealer, self, tick_seconds=self._shared.tick_seconds)
        self._shared.admit(self._enc, head.headers)
        self._receipt = self._shared.receipts.begin(head.method, head.path, head.headers)
        self._request = head
        try:
            self._key.endpoints.require(head.method, head.path)
        except UsageError as error:
            self._ours = openai_error(error.status, str(error))

    def _keep(self, piece: memoryview) -> None:
        assert self._receipt is not None
        self._receipt.request(piece)
        if self._ours is not None:
            return  # nobody reads it; the receipt covers it all the same
        if not self._strict:
            self._hold(len(piece))
        self._body.add(piece)

    def _hold(self, size: int) -> None:
        self._shared.memory.hold(self, size)
        self.held += size
        if not self._arrived:
            self._shared.memory.arrives(self)

    # --- the engine ---

    def engine_ready(self, link: EngineLink) -> None:
        """It is this request's turn."""
        request = self._request
        assert request is not None
        self._link = link
        head = engine_head(request.method, request.path, request.headers, self._body.length)
        self._body.lent = True
        link.ask(self, head, self._body.views, deadline=self._shared.engines.deadline())

    def engine_took(self) -> None:
        """It has the request, which is wiped here."""
        self._body.lent = False
        self._let_go_of_request()

    def answer_begins(self, head: ResponseHead) -> None:
        """The engine answers."""
        self._answer = engine_answer(head)
        self._stream.begin(self._answer)
        self._streams = head.length is None

    def answer_piece(self, data: memoryview) -> None:
        """More of its answer."""
        assert self._receipt is not None
        self._receipt.answer(data)
        self._stream.add(data)

    def answer_pauses(self) -> None:
        """That was all that one read brought."""
        if self._streams:
            self._stream.flush()

    def answer_ends(self) -> None:
        """All of it is here."""
        assert self._answer is not None
        self._close_stream(self._answer.status)

    def engine_failed(self, error: CloisterError) -> None:
        """There is no answer, or no more of it."""
        if self._stream.started:
            self._end(502)
            self._stream.break_off()
            return
        if self._answer is not None:  # what came of it is not shown, nor does the receipt speak of it
            self._stream.drop()
            assert self._receipt is not None
            self._receipt.forget_answer()
        self._respond_ours(engine_error(error))

    # --- the answer ---

    def _respond_ours(self, answer: Answer) -> None:
        assert self._receipt is not None
        self._stream.begin(answer)
        self._receipt.answer(answer.body)
        self._stream.add(answer.body)
        self._close_stream(answer.status)

    def _close_stream(self, status: int) -> None:
        assert self._receipt is not None
        stream, trailers = self._stream, self._receipt.fields(self._key, status)
        self._end(200)
        stream.end(trailers)

    def _refuse(self, answer: Answer) -> None:
        """Under strict privacy not before the request is whole: until then nothing tells it from one that is taken."""
        if self._strict:
            self._refusal = answer
            self._body.give_back()
        else:
            self._respond_unproved(answer)

    def _respond_unproved(self, answer: Answer) -> None:
        """For what was not admitted, or is no request: there is nothing to prove."""
        stream = self._stream
        stream.drop()
        message = encode(Response(answer.status, answer.fields, answer.body))
        self._end(200)
        stream.end_with(message)

    def outlasted(self) -> None:
        """There are no records for more of the answer."""
        if not self._over:
            self._end(504)

    def delivered(self) -> None:
        """The last record is out."""
        self._count(200)

    def abandoned(self) -> None:
        """Nobody waits any more: the engine's connection is closed, so that it stops too."""
        if not self._over:
            self._end(499)
        if self._strict:
            self._count(499)
        if self._opener is not None:
            self._stream.abandon()

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
        link, self._link = self._link, None
        if link is not None:
            self._shared.engines.give_back(link)
        self._let_go_of_request()
        self._shared.memory.arrived(self)
        if not self._strict:  # how the engine ended, and when, is told to nobody: the end of the records is counted
            self._count(status)

    def _count(self, status: int) -> None:
        self._shared.observe(status, perf_counter() - self._started)

    def _let_go_of_request(self) -> None:
        """Wipe it, whoever may still send it: nobody waits for what an engine makes of zeros."""
        self._body.give_back()
        self._shared.memory.release(self.held)
        self.held = 0
