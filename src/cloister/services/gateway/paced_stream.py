"""An answer in records of one size on one cadence (strict privacy): whatever the engine does, and whenever, the same.

The first record goes when the request is whole, and one each tick from then on: empty while the engine thinks, and
after the answer's end, until their number is one of a few. A client that reads too slowly is sent none meanwhile;
records that were late are not sent faster. What the engine says ahead of the cadence waits here, and beyond a bound the
engine does.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from cloister.formats import varint
from cloister.formats.binary_http import Fields, Framing, Response, encode_head
from cloister.formats.binary_http_stream import finish
from cloister.hosting.http_inbound import InboundConnection
from cloister.ohttp.chunked import ResponseSealer
from cloister.ohttp.records import RECORD_SIZE, ROOM, TOTALS, Kind, write_record
from cloister.services.gateway.buffers import wipe
from cloister.services.gateway.inside import Answer
from cloister.services.gateway.sealed_stream import SEALED

AHEAD: Final = 2**20  # bytes that an engine may be ahead of the cadence
UNSENT: Final = 16 * RECORD_SIZE  # bytes that a client may have yet to take


class Source(Protocol):
    """Where the answer comes from."""

    def pause(self) -> None:
        """Say no more for now."""

    def resume(self) -> None:
        """Go on."""

    def outlasted(self) -> None:
        """There are no records for what is still to come."""

    def delivered(self) -> None:
        """The last record is out."""


class PacedStream:
    """The client's side of one answer, in the manner of `SealedStream`."""

    __slots__ = (
        "_connection", "_count", "_due", "_ended", "_paused", "_plain", "_ready", "_sealer", "_source", "_tick_seconds",
        "_timer", "_told", "started",
    )  # fmt: skip

    def __init__(
        self, connection: InboundConnection, sealer: ResponseSealer, source: Source, *, tick_seconds: float
    ) -> None:
        self._tick_seconds = tick_seconds
        self._connection = connection
        self._sealer = sealer
        self._source = source
        self._plain = bytearray()  # content that is in no record yet,
        self._ready = 0  # and so many bytes of it may be
        self._ended: Kind | None = None  # how the content ends, once it has
        self._told = False  # a record said so
        self._paused = False  # the source waits
        self._count = 0  # records that are out
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.started = False  # a byte of the content is out

    def expect(self) -> None:
        """The request is whole: begin."""
        self._due = asyncio.get_running_loop().time()
        self._tick()

    def begin(self, answer: Answer) -> None:
        """Its head."""
        head = Response(answer.status, answer.fields)
        self._plain += encode_head(head, framing=Framing.INDETERMINATE_LENGTH)

    def add(self, piece: memoryview | bytes) -> None:
        """A piece of its content, not empty. What is ahead by too much goes out, whole or not."""
        self._plain += varint.encode(len(piece))
        self._plain += piece
        if len(self._plain) > AHEAD:
            self.flush()
            self._paused = True
            self._source.pause()

    def flush(self) -> None:
        """Have what was added go out."""
        self._ready = len(self._plain)

    def end(self, trailers: Fields) -> None:
        """Its trailers and its end."""
        self._plain += finish(trailers)
        self._end(Kind.LAST)

    def end_with(self, message: bytes) -> None:
        """Send a Binary HTTP message of ours in place of an answer."""
        self._plain += message
        self._end(Kind.LAST)

    def break_off(self) -> None:
        """Nothing more of the answer comes; the records go on."""
        self.drop()
        self._end(Kind.BROKEN)

    def drop(self) -> None:
        """Wipe what is in no record yet."""
        wipe(memoryview(self._plain))
        self._plain = bytearray()
        self._ready = 0

    def abandon(self) -> None:
        """Nobody reads it."""
        self.drop()
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, how: Kind) -> None:
        self.flush()
        self._ended = how

    def _tick(self) -> None:
        if self._connection.unsent() <= UNSENT and self._send():
            return
        loop = asyncio.get_running_loop()
        self._due = max(self._due + self._tick_seconds, loop.time())
        self._timer = loop.call_at(self._due, self._tick)

    def _send(self) -> bool:
        """Send the next record; whether it is the last."""
        self._count += 1
        if self._count == TOTALS[-1] and (self._ended is None or self._ready > ROOM):
            self.drop()
            self._ended = Kind.BROKEN
            self._source.outlasted()
        record = self._record()
        last = self._told and self._count in TOTALS
        sealed = self._sealer.finish(record) if last else self._sealer.seal(record)
        wipe(memoryview(record))
        if last:
            self._connection.end(sealed)
            self._source.delivered()
        elif self._count == 1:
            self._connection.start(200, SEALED, self._sealer.head + sealed)
        else:
            self._connection.send(sealed)
        return last

    def _record(self) -> bytearray:
        """The next one, with what there is for it."""
        record, size, kind = bytearray(RECORD_SIZE), min(self._ready, ROOM), Kind.MORE
        if self._ended is not None and size == self._ready and not self._told:
            kind, self._told = self._ended, True
        with memoryview(self._plain)[:size] as data:
            write_record(memoryview(record), kind, data)
            wipe(data)
        del self._plain[:size]
        self._ready -= size
        self.started = self.started or size > 0
        if self._paused and len(self._plain) <= AHEAD // 2:
            self._paused = False
            self._source.resume()
        return record
