"""A relay and a chunked gateway in one, before an engine that streams: what a client that streams talks to.

It reads and answers as chunks come, over a real socket, and can err in every way that a client has to notice.
"""

import asyncio
import base64
import hashlib
import secrets
from dataclasses import dataclass, field

from tests.doubles.relayed_service import RelayedService, key_problem

from cloister.formats import binary_http, binary_http_stream
from cloister.formats.response_receipt import RECEIPT_HEADER, SALT_HEADER
from cloister.hosting.http_connection import PeerLeft
from cloister.hosting.http_exchange import Response
from cloister.ledger.statements import entry_digest
from cloister.ohttp import chunked
from cloister.ohttp.encapsulation import parse_header
from cloister.ohttp.records import RECORD_SIZE, TOTALS, Kind, write_record
from cloister.provenance.answer import Answered, RunningSummary, sign_receipt
from cloister.testing.world import NOON


@dataclass
class Arriving:
    """One request as far as it has come."""

    head: binary_http.Request | None = None
    body: bytearray = field(default_factory=bytearray)
    running: RunningSummary | None = None
    size: int = 0  # bytes of the encapsulated request
    whole: bool = False
    broke_off: bool = False  # the client closed the connection before its request's end
    left: bool = False  # the client closed the connection before its answer's end


class StreamingService(RelayedService):
    """Change an attribute to make it err. `arrived` has what came of each chunked request; `events` is the answer."""

    def __init__(self, now=NOON):
        super().__init__(now)
        self.arrived = []
        self.events = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]
        self.content_type = "text/event-stream"
        self.gate = None  # an event, awaited before each piece of the answer but the first
        self.keep_bodies = True
        self.cut_after = None  # so many chunks of the answer are sent, then it breaks off
        self.ends_early = False  # the answer's final chunk is missing, though its body ends as HTTP has it
        self.answers_at_once = False  # before any of the request's body was read
        self.records = lambda records: records  # what becomes of an answer's records before they are sealed,
        self.hangs = False  # after what there is of them nothing comes
        self.on_the_way = lambda chunks: chunks  # and of the sealed chunks, at a relay
        self.key_problem_after = None  # bytes of the request after which it is refused, once

    async def answer(self, request):
        media_type = dict(request.headers).get(b"content-type", b"")
        if media_type != chunked.REQUEST_MEDIA_TYPE.encode():
            return await super().answer(request)
        self.seen.append((request.method, request.target, request.headers, b""))
        if self.outer is not None:
            return self.outer
        if self.key_problems:
            self.key_problems -= 1
            async for piece in request.body:
                self.key_problem_after = (self.key_problem_after or 0) - len(piece)
                if self.key_problem_after <= 0:
                    break
            return key_problem()
        arriving = Arriving()
        self.arrived.append(arriving)
        try:
            sealer = await self.receive(request, arriving)
        except (asyncio.CancelledError, PeerLeft):
            arriving.broke_off = True
            raise
        return Response(
            200,
            [(b"content-type", chunked.RESPONSE_MEDIA_TYPE.encode())],
            self.chunks(sealer, arriving),
            close=lambda: self.closed(arriving),
        )

    async def closed(self, arriving):
        arriving.left = not arriving.whole

    async def receive(self, request, arriving):
        """Open the request as it comes; what seals its answer."""
        body = aiter(request.body)
        head = b""
        while len(head) < 7 or len(head) < chunked.head_size(parse_header(head)):
            head += await anext(body)
        size = chunked.head_size(parse_header(head))
        key_id = parse_header(head).key_id
        opener, sealer = chunked.open_request(self.world.transport, key_id, head[:size], nonce=secrets.token_bytes(16))
        decoder = binary_http_stream.RequestDecoder()
        self.take(arriving, decoder, opener.feed(head[size:]))
        arriving.size += len(head)
        async for data in body:
            arriving.size += len(data)
            self.take(arriving, decoder, opener.feed(data))
            if self.answers_at_once and arriving.head is not None:
                return sealer
        self.take(arriving, decoder, opener.end())
        decoder.end()
        self.opened.append(arriving.head)
        return sealer

    def take(self, arriving, decoder, data):
        pieces = decoder.feed(data)
        head = decoder.head
        if arriving.head is None and head is not None:
            arriving.head = head
            arriving.running = RunningSummary(head.method, head.path, dict(head.headers).get("content-type", ""))
        for piece in pieces:
            arriving.running.update(piece)
            if self.keep_bodies:
                arriving.body += piece

    async def chunks(self, sealer, arriving):
        """The answer, each event in a chunk of its own; or in records, where it was asked for them."""
        yield sealer.head
        if dict(arriving.head.headers).get("cloister-privacy") == "strict":
            for chunk in self.sealed_records(sealer, arriving):
                yield chunk
            if self.hangs:
                await asyncio.Event().wait()
            arriving.whole = True
            return
        if self.not_admitted:
            refused = self.engine(arriving.head)
            yield sealer.finish(binary_http.encode(refused))
            return
        headers = (("content-type", self.content_type), ("server", "engine/1"))
        parts = [binary_http_stream.start(binary_http.Response(self.status, headers))]
        parts += [binary_http_stream.content(event) for event in self.events]
        for number, part in enumerate(parts):
            if self.gate is not None and number > 1:
                await self.gate.wait()
            if number == self.cut_after:
                raise ConnectionResetError("cut for a test")
            yield sealer.seal(part)
        if self.ends_early:
            return
        arriving.whole = True
        yield sealer.finish(binary_http_stream.finish(self.trailers(arriving)) + bytes(7))

    def sealed_records(self, sealer, arriving):
        """Records of the answer, an event in each, as far as they go and were not exchanged on their way."""
        headers = (("content-type", self.content_type),)
        contents = [binary_http_stream.start(binary_http.Response(self.status, headers)), b""]
        contents += [binary_http_stream.content(event) for event in self.events]
        if self.not_admitted:
            contents = [binary_http.encode(self.engine(arriving.head))]
        else:
            contents.append(binary_http_stream.finish(self.trailers(arriving)))
        plain = [bytearray(RECORD_SIZE) for _ in range(TOTALS[0])]
        for number, content in enumerate(contents):
            kind = Kind.LAST if number == len(contents) - 1 else Kind.MORE
            write_record(memoryview(plain[number]), kind, content)
        *before, last = self.records(plain)
        yield from self.on_the_way([*map(sealer.seal, before), sealer.finish(last)])

    def trailers(self, arriving):
        if self.without_receipt:
            return ()
        salt = secrets.token_bytes(32)
        digest = hashlib.sha256(b"".join(self.events)).digest()
        said = {"request": arriving.running.summary(), "status": self.status, "body_digest": digest}
        said |= {"salt": salt, "at": self.now}
        epoch = entry_digest(self.world.log.entries[self.world.epoch_entries[-1]])
        core = sign_receipt(
            self.signer, Answered(**said | self.receipt), contract=self.world.contract.digest(), epoch=epoch
        )
        carried = {RECEIPT_HEADER: core, SALT_HEADER: salt}
        return tuple((name, base64.b64encode(value).decode()) for name, value in carried.items())


async def in_pieces(data, size, *, pause=0.0):
    """`data` as a body that comes in pieces."""
    for at in range(0, len(data), size):
        await asyncio.sleep(pause)
        yield data[at : at + size]


async def until(condition):
    """Wait for what another task brings about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
