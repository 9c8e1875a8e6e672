"""Binary HTTP messages (RFC 9292): what travels inside an encapsulated request or response.

A message that exists is valid: `Request` and `Response` check themselves however they are made, so that nothing
decoded here can split or smuggle a message when it is replayed over HTTP/1.1. Which endpoints and headers are
allowed is decided elsewhere. Text is ISO 8859-1, one character a byte, so that every value comes back as it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import varint
from cloister.formats.varint import CutShort

MEDIA_TYPE: Final = "message/bhttp"
MAXIMUM_SECTION: Final = 32_768  # bytes of one header or trailer section, and of each part of the control data
MAXIMUM_FIELDS: Final = 128  # field lines of one section
MAXIMUM_INFORMATIONAL: Final = 8  # responses before the final one
MAXIMUM_BODY: Final = 32 * 2**20  # bytes
MAXIMUM_PIECES: Final = 16_384  # of a body of indeterminate length; each costs time and memory, however small

Fields = tuple[tuple[str, str], ...]

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")  # no userinfo: RFC 9113 section 8.3.1
_PATH: Final = re.compile(r"/[\x21\x22\x24-\x7e]*")  # visible ASCII, no fragment
_CONTROL: Final = re.compile(  # all four at once: none of them may hold a space
    " ".join(part.pattern for part in (_METHOD, _SCHEME, _AUTHORITY, _PATH))
)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # lower case, no pseudo-fields: RFC 9113 sections 8.2.1 and 8.3
_VALUE: Final = re.compile(r"(?![\t ])[\t\x20-\x7e\x80-\xff]*(?<![\t ])")


class Framing(IntEnum):
    """How the lengths of sections are told; with 1 added for responses, the framing indicator (section 3.3)."""

    KNOWN_LENGTH = 0
    INDETERMINATE_LENGTH = 2


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Header names are lower case; `authority` may be empty; CONNECT has no form here.

    Raises:
        MalformedInput: a part that HTTP/2 would call malformed (RFC 9113 section 8).
    """

    method: str
    scheme: str
    authority: str
    path: str
    headers: Fields = ()
    body: bytes = b""
    trailers: Fields = ()

    def __post_init__(self) -> None:
        check_control(self.method, self.scheme, self.authority, self.path)
        check_fields(self.headers)
        check_fields(self.trailers)


@dataclass(frozen=True, slots=True)
class InformationalResponse:
    """An interim response, status 100 to 199.

    Raises:
        MalformedInput: another status, or fields that HTTP/2 would call malformed.
    """

    status: int
    headers: Fields = ()

    def __post_init__(self) -> None:
        if not 100 <= self.status <= 199:
            raise MalformedInput(f"{self.status} is not an informational status")
        check_fields(self.headers)


@dataclass(frozen=True, slots=True)
class Response:
    """A final response, status 200 to 599, and the interim ones before it.

    Raises:
        MalformedInput: another status, or fields that HTTP/2 would call malformed.
    """

    status: int
    headers: Fields = ()
    body: bytes = b""
    trailers: Fields = ()
    informational: tuple[InformationalResponse, ...] = ()

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise MalformedInput(f"{self.status} is not a final status")
        check_fields(self.headers)
        check_fields(self.trailers)


def encode(message: Request | Response, *, framing: Framing = Framing.KNOWN_LENGTH) -> bytes:
    """The message's bytes, nothing truncated and without padding."""
    parts = [encode_head(message, framing=framing)]
    if message.body or framing is Framing.KNOWN_LENGTH:
        _put(parts, message.body)
    if framing is Framing.INDETERMINATE_LENGTH:
        parts.append(b"\x00")
    parts.append(encode_section(message.trailers, framing))
    return b"".join(parts)


def encode_head(message: Request | Response, *, framing: Framing) -> bytes:
    """The message's bytes up to its content."""
    parts: list[bytes] = []
    if isinstance(message, Request):
        parts.append(varint.encode(framing))
        for text in (message.method, message.scheme, message.authority, message.path):
            _put(parts, text.encode("latin-1"))
    else:
        parts.append(varint.encode(framing + 1))
        for interim in message.informational:
            parts += (varint.encode(interim.status), encode_section(interim.headers, framing))
        parts.append(varint.encode(message.status))
    parts.append(encode_section(message.headers, framing))
    return b"".join(parts)


def encode_section(fields: Fields, framing: Framing) -> bytes:
    """A header or trailer section."""
    lines: list[bytes] = []
    for name, value in fields:
        _put(lines, name.encode("latin-1"))
        _put(lines, value.encode("latin-1"))
    section = b"".join(lines)
    return varint.encode(len(section)) + section if framing is Framing.KNOWN_LENGTH else section + b"\x00"


def decode_request(data: bytes, *, body_limit: int = MAXIMUM_BODY) -> Request:
    """Parse a request of either framing, truncated or padded as section 3.8 allows.

    Raises:
        TooLarge: a section, or the body, is over its cap.
        MalformedInput: anything else that is not a valid request.
    """
    reader = Reader(data)
    framing = reader.framing(0)
    method, scheme, authority, path = (reader.text() for _ in range(4))
    headers, body, trailers = reader.rest(framing, body_limit)
    return Request(method, scheme, authority, path, headers, body, trailers)


def decode_response(data: bytes, *, body_limit: int = MAXIMUM_BODY) -> Response:
    """Parse a response of either framing, truncated or padded as section 3.8 allows.

    Raises:
        TooLarge: a section, the body, or the number of interim responses is over its cap.
        MalformedInput: anything else that is not a valid response.
    """
    reader = Reader(data)
    framing = reader.framing(1)
    informational: list[InformationalResponse] = []
    while (status := reader.status(len(informational))) < 200:
        informational.append(InformationalResponse(status, reader.fields(framing)))
    headers, body, trailers = reader.rest(framing, body_limit)
    return Response(status, headers, body, trailers, tuple(informational))


class Reader:
    """Reads one message from front to back; `CutShort` where it ends before what was asked for."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data: bytes | bytearray | memoryview = data
        self._at = 0

    def framing(self, kind: int) -> Framing:
        """The framing of a message of this kind: 0 for requests, 1 for responses."""
        indicator = self.integer()
        if indicator not in (kind, kind + 2):
            raise MalformedInput(f"framing indicator {indicator} is not a {('request', 'response')[kind]}'s")
        return Framing(indicator - kind)

    def integer(self) -> int:
        """The next variable-length integer."""
        if self._at < len(self._data) and (value := self._data[self._at]) < 1 << 6:  # most are: a third of the time
            self._at += 1
            return value
        value, self._at = varint.decode(self._data, self._at)
        return value

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise CutShort("the message is cut short")
        taken = bytes(self._data[self._at : end])
        self._at = end
        return taken

    def text(self) -> str:
        """A part of the control data."""
        return self._text(self.integer())

    def status(self, informational: int) -> int:
        """A status code, after as many informational responses."""
        status = self.integer()
        if status < 200 and informational == MAXIMUM_INFORMATIONAL:
            raise TooLarge(f"more than {MAXIMUM_INFORMATIONAL} informational responses")
        return status

    def _text(self, size: int) -> str:
        if size > MAXIMUM_SECTION:
            raise TooLarge(f"{size} bytes of text, the cap is {MAXIMUM_SECTION}")
        return self.take(size).decode("latin-1")

    def rest(self, framing: Framing, body_limit: int) -> tuple[Fields, bytes, Fields]:
        """Headers, body and trailers, to the end of the message."""
        headers = self.fields(framing)
        body = self._body(framing, body_limit)
        trailers = self.fields(framing)
        self.padding()
        return headers, body, trailers

    def padding(self) -> None:
        """What is left, which is zeros."""
        rest = bytes(self._data[self._at :])
        if rest.count(0) != len(rest):
            # "Non-zero padding bytes cause a message to be invalid" (section 3.8)
            raise MalformedInput("the padding is not zero")
        self._at = len(self._data)

    def fields(self, framing: Framing) -> Fields:
        """One field section; a message may end before it, and then it is empty."""
        if self.ended():
            return ()
        return self._lines() if framing is Framing.INDETERMINATE_LENGTH else self.section()

    def section(self) -> Fields:
        """A field section of known length."""
        size = self.integer()
        if size > MAXIMUM_SECTION:
            raise TooLarge(f"a field section of {size} bytes, the cap is {MAXIMUM_SECTION}")
        section = Reader(self.take(size))
        lines: list[tuple[str, str]] = []
        try:
            while not section.ended():
                line = section.line(len(lines), MAXIMUM_SECTION)
                if line is None:
                    raise MalformedInput("a field section holds a name without characters")
                lines.append(line[0])
        except CutShort as error:
            raise MalformedInput("a field section ends within a field") from error
        return tuple(lines)

    def _lines(self) -> Fields:
        """Field lines up to their terminator."""
        lines: list[tuple[str, str]] = []
        left = MAXIMUM_SECTION
        while line := self.line(len(lines), left):
            lines.append(line[0])
            left = line[1]
        return tuple(lines)

    def line(self, count: int, left: int) -> tuple[tuple[str, str], int] | None:
        """A field line after `count` others, and how much of `left` bytes is left then; nothing at the terminator."""
        start = self._at
        size = self.integer()
        if not size:
            return None
        if count == MAXIMUM_FIELDS:
            raise TooLarge(f"more than {MAXIMUM_FIELDS} fields in one section")
        field = self._text(size), self._text(self.integer())
        left -= self._at - start
        if left < 0:
            raise TooLarge(f"a field section of more than {MAXIMUM_SECTION} bytes")
        return field, left

    def _body(self, framing: Framing, limit: int) -> bytes:
        if self.ended():
            return b""
        if framing is Framing.KNOWN_LENGTH:
            return self.take(self.size(limit))
        chunks: list[bytes] = []
        while size := self.size(limit):
            chunks.append(self.take(size))
            limit -= size
            check_pieces(len(chunks))
        return b"".join(chunks)

    def size(self, limit: int) -> int:
        """The length of content that follows, of which `limit` bytes may."""
        size = self.integer()
        if size > limit:
            raise TooLarge(f"the body is {size - limit} bytes or more over its cap")
        return size

    def ended(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)

    # --- where more may come ---

    @property
    def at(self) -> int:
        """How far it has read, to come back to."""
        return self._at

    def back(self, at: int) -> None:
        """Read on from `at`."""
        self._at = at

    def extend(self, data: bytes | memoryview) -> None:
        """More has come. It is not copied where everything before it was read."""
        if self._at == len(self._data):
            self._data, self._at = data, 0
        else:
            if not isinstance(self._data, bytearray):
                self._data, self._at = bytearray(self._data[self._at :]), 0
            self._data += data

    def detach(self) -> None:
        """Keep what was not read elsewhere than in what it was given."""
        self._data, self._at = bytearray(self._data[self._at :]), 0

    def available(self, size: int) -> bytes | memoryview:
        """What is there of the next `size` bytes; a view where it was given one."""
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return bytes(taken) if isinstance(taken, bytearray) else taken


def check_pieces(count: int, allowed: int = MAXIMUM_PIECES) -> None:
    """Hold the number of a body's pieces against its cap.

    Raises:
        TooLarge: there are more.
    """
    if count > allowed:
        raise TooLarge(f"a body in more than {allowed} pieces: send larger ones")


def check_control(method: str, scheme: str, authority: str, path: str) -> None:
    """Hold a request's control data against RFC 9113 section 8.3.1.

    Raises:
        MalformedInput: a part is malformed there.
    """
    if _CONTROL.fullmatch(f"{method} {scheme} {authority} {path}"):
        return
    if not _METHOD.fullmatch(method):
        raise MalformedInput("the method is not a token")
    if not _SCHEME.fullmatch(scheme):
        raise MalformedInput("the scheme is not one, in lower case")
    if not _AUTHORITY.fullmatch(authority):
        raise MalformedInput("the authority is not a host and port")
    if not _PATH.fullmatch(path) and (method, path) != ("OPTIONS", "*"):
        raise MalformedInput("the path does not start with / or has characters that are not visible ASCII")


def check_fields(fields: Fields) -> None:
    """Hold the names and values of a section against RFC 9113 section 8.2.1.

    Raises:
        MalformedInput: one is malformed there.
    """
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise MalformedInput("a field name is not a token in lower case")
        if not _VALUE.fullmatch(value):
            raise MalformedInput(f"the value of {name} has control characters, or white space at an end")


def _put(parts: list[bytes], value: bytes) -> None:
    parts += (varint.encode(len(value)), value)
