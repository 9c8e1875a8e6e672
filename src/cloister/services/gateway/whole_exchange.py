"""A request that came in one encapsulated message (RFC 9458) to its answer, which goes out as one.

It is opened in place: the one buffer that it lies in holds all of its plaintext, and is wiped when the exchange ends.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from cloister.errors import CloisterError, MalformedInput, UsageError
from cloister.formats.binary_http import Fields
from cloister.formats.binary_http_view import ViewedRequest, view_request
from cloister.hosting.http_head import RequestHead, ResponseHead
from cloister.hosting.http_inbound import InboundConnection
from cloister.hosting.problem import MEDIA_TYPE, encode, problem_of
from cloister.ohttp.encapsulation import HEADER_SIZE, OpenedInPlace, open_in_place
from cloister.ohttp.privacy import require_standard
from cloister.services.gateway.buffers import SMALL, Buffer, Collected, wipe
from cloister.services.gateway.engine_link import MAXIMUM_ANSWER, EngineLink
from cloister.services.gateway.exchange import NOT_ADMITTED, RunningReceipt, Shared
from cloister.services.gateway.inside import Answer, engine_answer, engine_error, engine_head, openai_error
from cloister.services.gateway.keys import GatewayKey
from cloister.services.gateway.request_memory import Busy
from cloister.services.gateway.sealed_answer import sealed_message

PROBLEM: Final = b"content-type: %b\r\n" % MEDIA_TYPE.encode()


class WholeExchange:
    """Hears the client's connection and the engine's, from the request's head to the answer's last byte."""

    __slots__ = (
        "_answer", "_body", "_buffer", "_connection", "_fetch", "_key", "_length", "_link", "_opened", "_receipt",
        "_request", "_shared", "_small", "_started", "held", "over",
    )  # fmt: skip

    def __init__(self, shared: Shared, connection: InboundConnection, head: RequestHead) -> None:
        self._shared = shared
        self._connection = connection
        self._length = head.length
        self._started = perf_counter()
        self.held = 0
        self.over = False
        self._small: bytearray | None = None  # where the request lies,
        self._buffer: Buffer | None = None  # or where a large one does
        self._fetch: asyncio.Task[None] | None = None  # of a key that is not here yet
        self._key: GatewayKey
        self._opened: OpenedInPlace
        self._request: ViewedRequest
        self._receipt: RunningReceipt | None = None
        self._link: EngineLink | None = None
        self._answer: Answer
        self._body: Collected | None = None  # of the engine's answer

    # --- the request arrives ---

    def received(self, data: memoryview) -> None:
        """More of it."""
        if self._buffer is not None:
            self._buffer.filled += len(data)  # it arrived in its place, whether it may be held or not
        self._shared.memory.hold(self, len(data))
        self.held += len(data)
        if self._buffer is None:
            self._place(data)

    def _place(self, data: memoryview) -> None:
        if self._length is not None and self._length > SMALL:
            self._buffer = self._shared.buffers.take(self._length)
            self._buffer.view[: len(data)] = data
            self._buffer.filled = len(data)
            if self._connection.left:
                self._shared.memory.arrives(self)
                self._lend(lent=True)  # before a TLS record that was altered more may be read into it than is ever told
                self._connection.receive_into(self._buffer.view[len(data) :])
        elif self._small is None:
            self._small = bytearray(data)
        else:
            self._shared.memory.arrives(self)
            self._small += data

    def give_way(self, error: Busy) -> None:
        """Others need the memory."""
        self._connection.refuse(error)

    def complete(self) -> None:
        """It is whole: open it, now or when its key has come."""
        self._shared.memory.arrived(self)
        self._lend(lent=False)
        data = self._data
        if len(data) < HEADER_SIZE:
            self._respond_in_the_clear(MalformedInput("the request ends within its header"))
            return
        key = self._shared.keys.held(data[0])
        if key is None:
            self._fetch = asyncio.get_running_loop().create_task(self._take_on_when_fetched(data[0]))
        else:
            self._key = key
            self._shared.turn.take(self)

    async def _take_on_when_fetched(self, key_id: int) -> None:
        try:
            self._key = await self._shared.keys.key_for(key_id)
        except CloisterError as error:
            self._respond_in_the_clear(error)
        else:
            self._shared.turn.take(self)

    @property
    def _data(self) -> memoryview:
        if self._buffer is not None:
            return self._buffer.view
        return memoryview(b"" if self._small is None else self._small)

    # --- it is opened, and held against the rules: `STEPS`, each of which says whether the next is to be taken ---

    def open(self) -> bool:
        """Open it where it lies."""
        try:
            self._opened = open_in_place(self._key.private, self._key.key_id, self._data)
        except CloisterError as error:
            self._respond_in_the_clear(error)
            return False
        return True

    def read(self) -> bool:
        """Read its inner head."""
        try:
            self._request = view_request(self._opened.request)
        except UsageError as error:
            return self._refuse(error)
        return True

    def admit(self) -> bool:
        """Let nothing in twice, and nothing of another time."""
        try:
            self._shared.admit(self._opened.enc, self._request.headers)
        except NOT_ADMITTED as error:
            self._respond_ours(self._shared.not_admitted(error))
            return False
        return True

    def allow(self) -> bool:
        """Begin its receipt, and hold it against the contract's endpoints."""
        request = self._request
        try:
            receipt = self._shared.receipts.begin(request.method, request.path, request.headers)
            for piece in request.body:
                receipt.request(piece)
            receipt.asked()
            self._receipt = receipt
            require_standard(request.headers)
            self._key.endpoints.require(request.method, request.path)
        except UsageError as error:
            return self._refuse(error)
        return True

    def ask(self) -> bool:
        """Wait for an engine."""
        self._shared.engines.take(self)
        return True

    def failed(self) -> None:
        """A step failed by a fault of ours: end, and answer nothing."""
        self._end(500)
        self._connection.cut()

    # --- the engine ---

    def engine_ready(self, link: EngineLink) -> None:
        """It is this request's turn."""
        request = self._request
        self._link = link
        head = engine_head(request.method, request.path, request.headers, sum(map(len, request.body)))
        self._lend(lent=True)
        link.ask(self, head, request.body, deadline=self._shared.engines.deadline())

    def engine_took(self) -> None:
        """It has the request, which is wiped here."""
        self._lend(lent=False)
        self._let_go_of_request()

    def answer_begins(self, head: ResponseHead) -> None:
        """The engine answers; one that streams is waited for, since the client asked for one message."""
        self._answer = engine_answer(head)
        self._body = Collected(self._shared.buffers, head.length, limit=MAXIMUM_ANSWER)

    def answer_piece(self, data: memoryview) -> None:
        """More of its answer."""
        assert self._body is not None
        self._body.add(data)

    def answer_pauses(self) -> None:
        """The answer goes out as one."""

    def answer_ends(self) -> None:
        """All of it is here."""
        assert self._body is not None
        self._respond(self._answer, self._body.view)

    def engine_failed(self, error: CloisterError) -> None:
        """There is no answer."""
        self._respond_ours(engine_error(error))

    # --- the end ---

    def _respond_ours(self, answer: Answer) -> None:
        self._respond(answer, memoryview(answer.body))

    def _respond(self, answer: Answer, body: memoryview) -> None:
        receipt = self._receipt
        fields: Fields = ()
        if receipt is not None:
            receipt.answer(body)
            fields = receipt.fields(self._key, answer.status)
        message = sealed_message(self._connection, self._opened.sealer, answer, fields, body)
        self._end(200)
        self._connection.respond_with(message)

    def _refuse(self, error: UsageError) -> bool:
        self._respond_ours(openai_error(error.status, str(error)))
        return False

    def _respond_in_the_clear(self, error: CloisterError) -> None:
        self._end(error.status)
        self._connection.respond(error.status, PROBLEM, encode(problem_of(error)))

    def abandoned(self) -> None:
        """Nobody waits any more: the engine's connection is closed, so that it can stop too."""
        self._end(499)

    def pause(self) -> None:
        """The answer is one message, and out."""

    def resume(self) -> None:
        """As above."""

    def _end(self, status: int) -> None:
        """Let everything go that the exchange holds, wiped."""
        self.over = True
        shared = self._shared
        if self._fetch is not None:
            self._fetch.cancel()
        shared.engines.forget(self)
        link, self._link = self._link, None
        if link is not None:
            shared.engines.give_back(link)
        if self._body is not None:
            self._body.give_back()
        self._let_go_of_request()
        shared.memory.arrived(self)
        shared.observe(status, perf_counter() - self._started)

    def _lend(self, *, lent: bool) -> None:
        """A small request needs no such care: the place that it lies in is used for no other."""
        if self._buffer is not None:
            self._buffer.lent = lent

    def _let_go_of_request(self) -> None:
        """Wipe it, whoever may still send it: nobody waits for what an engine makes of zeros."""
        if self._small is not None:
            wipe(memoryview(self._small))
        if self._buffer is not None:
            self._buffer.give_back()
        self._small = self._buffer = None
        self._shared.memory.release(self.held)
        self.held = 0


STEPS: Final = (
    WholeExchange.open,
    WholeExchange.read,
    WholeExchange.admit,
    WholeExchange.allow,
    WholeExchange.ask,
)
