"""Binary HTTP messages that arrive, or are made, piece by piece; the rules are those of `binary_http`.

A decoder is fed bytes split anywhere, gives the head once it is complete, content as it comes, and trailers at the
end. Whether the message was cut is for the layer below to say: `end()` takes every truncation that RFC 9292 allows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, TypeVar, final

from cloister.errors import MalformedInput, UsageError
from cloister.formats import varint
from cloister.formats.binary_http import (
    MAXIMUM_BODY,
    MAXIMUM_PIECES,
    MAXIMUM_SECTION,
    Fields,
    Framing,
    InformationalResponse,
    Reader,
    Request,
    Response,
    check_fields,
    check_pieces,
    encode_head,
    encode_section,
)
from cloister.formats.varint import CutShort

T = TypeVar("T")
Waiting = Generator[None, None, T]  # each time it yields, it needs more bytes or the end

SMALL_PIECE: Final = 64  # bytes: a long body may come in as many pieces of this size as it likes
_REQUEST: Final = 0
_RESPONSE: Final = 1
_OVER: Final = True


class _Decoder:
    """Reads a message as far as its bytes have come."""

    def __init__(self, body_limit: int) -> None:
        self.trailers: Fields = ()
        self.ended = False  # the message is whole, and `trailers` are
        self._reader = Reader(b"")
        self._limit = body_limit
        self._pieces: list[bytes | memoryview] = []
        self._ending = False
        self._message = self._read()
        next(self._message)

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of content that `data` holds, none of them empty.

        Raises:
            TooLarge: a section, the body, or the number of interim responses is over its cap.
            MalformedInput: anything else that is no valid message.
            UsageError: the message has ended, or was refused before.
        """
        return [bytes(piece) for piece in self._fed(data)]

    def _fed(self, data: bytes | memoryview) -> list[bytes | memoryview]:
        self._reader.extend(data)
        if next(self._message, _OVER):
            raise UsageError("nothing comes after the end of a message")
        pieces, self._pieces = self._pieces, []
        return pieces

    def end(self) -> None:
        """No more comes. What the message may leave out at its end (section 3.8) is empty.

        Raises:
            MalformedInput: it was cut where it may not end.
            UsageError: the message has ended, or was refused before.
        """
        again = self.ended
        self._ending = True
        next(self._message, _OVER)
        if again or not self.ended:
            raise UsageError("a message ends once")

    def _read(self) -> Waiting[None]:
        framing = yield from self._head()
        limit = self._limit
        if framing is Framing.KNOWN_LENGTH:
            if not (yield from self._left_out()):
                yield from self._content((yield from self._whole(self._reader.size, limit)))
        elif not (yield from self._left_out()):
            count = 0
            while size := (yield from self._whole(self._reader.size, limit)):
                yield from self._content(size)
                limit -= size
                count += 1
                check_pieces(count, MAXIMUM_PIECES + (self._limit - limit) // SMALL_PIECE)
        self.trailers = yield from self._fields(framing)
        check_fields(self.trailers)
        while not self._ending:
            self._reader.padding()
            yield
        self.ended = True

    def _head(self) -> Waiting[Framing]:
        raise NotImplementedError

    def _whole(self, read: Callable[..., T], *known: int) -> Waiting[T]:
        """What `read` gives, once there are bytes enough for it."""
        while True:
            at = self._reader.at
            try:
                return read(*known)
            except CutShort:
                if self._ending:
                    raise
                self._reader.back(at)
                yield

    def _left_out(self) -> Waiting[bool]:
        """Whether the message ends here, before a part that it may leave out."""
        while self._reader.ended():
            if self._ending:
                return True
            yield
        return False

    def _fields(self, framing: Framing) -> Waiting[Fields]:
        """One field section; a message may end before it, and then it is empty."""
        if (yield from self._left_out()):
            return ()
        if framing is Framing.KNOWN_LENGTH:
            return (yield from self._whole(self._reader.section))
        lines: list[tuple[str, str]] = []
        left = MAXIMUM_SECTION
        while line := (yield from self._whole(self._reader.line, len(lines), left)):
            lines.append(line[0])
            left = line[1]
        return tuple(lines)

    def _content(self, size: int) -> Waiting[None]:
        while size:
            while self._reader.ended():
                if self._ending:
                    raise MalformedInput("the message ends within its content")
                yield
            piece = self._reader.available(size)
            self._pieces.append(piece)
            size -= len(piece)


@final
class RequestDecoder(_Decoder):
    """A request as it arrives. `head` is the request without its body, once that far."""

    def __init__(self, *, body_limit: int = MAXIMUM_BODY) -> None:
        self.head: Request | None = None
        super().__init__(body_limit)

    def feed_view(self, data: memoryview) -> list[memoryview]:
        """As `feed`, without a copy: pieces are views of `data`, which can be wiped afterwards.

        Where `data` goes on with a length or a field that was begun before it, they are of a copy.
        """
        pieces = [memoryview(piece) for piece in self._fed(data)]
        self._reader.detach()
        return pieces

    def _head(self) -> Waiting[Framing]:
        reader = self._reader
        framing = yield from self._whole(reader.framing, _REQUEST)
        control: list[str] = []
        for _ in range(4):
            control.append((yield from self._whole(reader.text)))  # noqa: PERF401 - a comprehension cannot yield
        method, scheme, authority, path = control
        headers = yield from self._fields(framing)
        self.head = Request(method, scheme, authority, path, headers)
        return framing


@final
class ResponseDecoder(_Decoder):
    """A response as it arrives. `head` is the response without its body, once that far."""

    def __init__(self, *, body_limit: int = MAXIMUM_BODY) -> None:
        self.head: Response | None = None
        super().__init__(body_limit)

    def _head(self) -> Waiting[Framing]:
        reader = self._reader
        framing = yield from self._whole(reader.framing, _RESPONSE)
        informational: list[InformationalResponse] = []
        while (status := (yield from self._whole(reader.status, len(informational)))) < 200:
            informational.append(InformationalResponse(status, (yield from self._fields(framing))))
        headers = yield from self._fields(framing)
        self.head = Response(status, headers, informational=tuple(informational))
        return framing


def start(message: Request | Response) -> bytes:
    """The head of a message of indeterminate length. Its body and trailers are not looked at."""
    return encode_head(message, framing=Framing.INDETERMINATE_LENGTH)


def content(data: bytes | bytearray | memoryview) -> bytes:
    """A piece of its content; nothing where there is none, since an empty piece would end it."""
    return b"".join((varint.encode(len(data)), data)) if data else b""


def finish(trailers: Fields = ()) -> bytes:
    """The end of its content, and its trailers; any number of zeros may follow.

    Raises:
        MalformedInput: trailers that HTTP/2 would call malformed.
    """
    check_fields(trailers)
    return b"\x00" + encode_section(trailers, Framing.INDETERMINATE_LENGTH)
