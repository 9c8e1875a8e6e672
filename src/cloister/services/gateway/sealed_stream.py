"""An answer sealed chunk by chunk (chunked OHTTP): begun when the engine's first words come, proved by its trailers.

What one read from the engine brought goes out as one chunk in one write, so lengths and times tell of the words; under
strict privacy it is `paced_stream` that writes. Plaintext lies in buffers that are wiped as soon as they are sealed.
"""

from __future__ import annotations

from typing import Final

from cloister.formats import varint
from cloister.formats.binary_http import Fields, Framing, Response, encode_head
from cloister.formats.binary_http_stream import finish
from cloister.hosting.http_inbound import InboundConnection
from cloister.ohttp.chunked import MAXIMUM_CHUNK, RESPONSE_MEDIA_TYPE, ResponseSealer
from cloister.ohttp.padding import padded_answer_length
from cloister.services.gateway.buffers import wipe
from cloister.services.gateway.inside import Answer

SEALED: Final = b"content-type: %b\r\ncache-control: no-store\r\nincremental: ?1\r\n" % RESPONSE_MEDIA_TYPE.encode()


class SealedStream:
    """The client's side of one answer: written to as the engine speaks."""

    __slots__ = ("_connection", "_gone", "_plain", "_sealer", "started")

    def __init__(self, connection: InboundConnection, sealer: ResponseSealer) -> None:
        self._connection = connection
        self._sealer = sealer
        self._plain = bytearray()  # what is to be sealed next
        self._gone = 0  # bytes that were sealed before
        self.started = False  # a byte of it is out

    def expect(self) -> None:
        """The request is whole: nothing shows until there is an answer."""

    def begin(self, answer: Answer) -> None:
        """Its head."""
        head = Response(answer.status, answer.fields)
        self._plain += encode_head(head, framing=Framing.INDETERMINATE_LENGTH)

    def add(self, piece: memoryview | bytes) -> None:
        """A piece of its content, not empty."""
        self._plain += varint.encode(len(piece))
        self._plain += piece

    def flush(self) -> None:
        """Send what was added."""
        if not self._plain:
            return
        sealed = self._sealed_all()
        if self.started:
            self._connection.send(sealed)
        else:
            self.started = True
            self._connection.start(200, SEALED, self._sealer.head + sealed)

    def end(self, trailers: Fields) -> None:
        """Its trailers and its end, padded: the one message where nothing is out yet, else all that was sent."""
        self._plain += finish(trailers)
        if self.started:
            self._pad()
            self._connection.end(self._sealed_end())
            return
        self._respond()

    def end_with(self, message: bytes) -> None:
        """Send a Binary HTTP message of ours in place of an answer."""
        self._plain += message
        self._respond()

    def break_off(self) -> None:
        """Nothing more of the answer comes: only a cut can say so."""
        self.drop()
        self._connection.cut()

    def abandon(self) -> None:
        """Nobody reads it."""
        self.drop()

    def drop(self) -> None:
        """Wipe what was not sent."""
        wipe(memoryview(self._plain))
        self._plain = bytearray()

    def _respond(self) -> None:
        self._pad()
        self._connection.respond(200, SEALED, self._sealer.head + self._sealed_end())

    def _pad(self) -> None:
        length = self._gone + len(self._plain)
        self._plain += bytes(padded_answer_length(length) - length)

    def _sealed_all(self) -> bytes:
        view = memoryview(self._plain)
        sealed = b"".join(self._sealer.seal(view[at : at + MAXIMUM_CHUNK]) for at in range(0, len(view), MAXIMUM_CHUNK))
        self._gone += len(view)
        self.drop()
        return sealed

    def _sealed_end(self) -> bytes:
        view = memoryview(self._plain)
        last = (len(view) - 1) // MAXIMUM_CHUNK * MAXIMUM_CHUNK
        before = [self._sealer.seal(view[at : at + MAXIMUM_CHUNK]) for at in range(0, last, MAXIMUM_CHUNK)]
        sealed = b"".join([*before, self._sealer.finish(view[last:])])
        self.drop()
        return sealed
