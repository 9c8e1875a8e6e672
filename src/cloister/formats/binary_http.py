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

MEDIA_TYPE: Final = "message/bhttp"
MAXIMUM_SECTION: Final = 32_768  # bytes of one header or trailer section, and of each part of the control data
MAXIMUM_FIELDS: Final = 128  # field lines of one section
MAXIMUM_INFORMATIONAL: Final = 8  # responses before the final one
MAXIMUM_BODY: Final = 32 * 2**20  # bytes

Fields = tuple[tuple[str, str], ...]

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")  # no userinfo: RFC 9113 section 8.3.1
_PATH: Final = re.compile(r"/[\x21\x22\x24-\x7e]*")  # visible ASCII, no fragment
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # lower case, no pseudo-fields: RFC 9113 sections 8.2.1 and 8.3
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


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
        if not _METHOD.fullmatch(self.method):
            raise MalformedInput("the method is not a token")
        if not _SCHEME.fullmatch(self.scheme):
            raise MalformedInput("the scheme is not one, in lower case")
        if not _AUTHORITY.fullmatch(self.authority):
            raise MalformedInput("the authority is not a host and port")
        if not _PATH.fullmatch(self.path) and (self.method, self.path) != ("OPTIONS", "*"):
            raise MalformedInput("the path does not start with / or has characters that are not visible ASCII")
        _check_fields(self.headers)
        _check_fields(self.trailers)


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
        _check_fields(self.headers)


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
        _check_fields(self.headers)
        _check_fields(self.trailers)


def encode(message: Request | Response, *, framing: Framing = Framing.KNOWN_LENGTH) -> bytes:
    """The message's bytes, nothing truncated and without padding."""
    parts: list[bytes] = []
    if isinstance(message, Request):
        parts.append(varint.encode(framing))
        for text in (message.method, message.scheme, message.authority, message.path):
            _put(parts, text.encode("latin-1"))
    else:
        parts.append(varint.encode(framing + 1))
        for interim in message.informational:
            parts += (varint.encode(interim.status), _section(interim.headers, framing))
        parts.append(varint.encode(message.status))
    parts.append(_section(message.headers, framing))
    if message.body or framing is Framing.KNOWN_LENGTH:
        _put(parts, message.body)
    if framing is Framing.INDETERMINATE_LENGTH:
        parts.append(b"\x00")
    parts.append(_section(message.trailers, framing))
    return b"".join(parts)


def decode_request(data: bytes, *, body_limit: int = MAXIMUM_BODY) -> Request:
    """Parse a request of either framing, truncated or padded as section 3.8 allows.

    Raises:
        TooLarge: a section, or the body, is over its cap.
        MalformedInput: anything else that is not a valid request.
    """
    reader = _Reader(data)
    framing = reader.framing(0)
    method, scheme, authority, path = (reader.text(reader.integer()) for _ in range(4))
    headers, body, trailers = reader.rest(framing, body_limit)
    return Request(method, scheme, authority, path, headers, body, trailers)


def decode_response(data: bytes, *, body_limit: int = MAXIMUM_BODY) -> Response:
    """Parse a response of either framing, truncated or padded as section 3.8 allows.

    Raises:
        TooLarge: a section, the body, or the number of interim responses is over its cap.
        MalformedInput: anything else that is not a valid response.
    """
    reader = _Reader(data)
    framing = reader.framing(1)
    informational: list[InformationalResponse] = []
    while (status := reader.integer()) < 200:
        if len(informational) == MAXIMUM_INFORMATIONAL:
            raise TooLarge(f"more than {MAXIMUM_INFORMATIONAL} informational responses")
        informational.append(InformationalResponse(status, reader.fields(framing)))
    headers, body, trailers = reader.rest(framing, body_limit)
    return Response(status, headers, body, trailers, tuple(informational))


class _Reader:
    """Reads one message from front to back."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def framing(self, kind: int) -> Framing:
        indicator = self.integer()
        if indicator not in (kind, kind + 2):
            raise MalformedInput(f"framing indicator {indicator} is not a {('request', 'response')[kind]}'s")
        return Framing(indicator - kind)

    def integer(self) -> int:
        value, self._at = varint.decode(self._data, self._at)
        return value

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise MalformedInput("the message is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def text(self, size: int) -> str:
        if size > MAXIMUM_SECTION:
            raise TooLarge(f"{size} bytes of text, the cap is {MAXIMUM_SECTION}")
        return self.take(size).decode("latin-1")

    def rest(self, framing: Framing, body_limit: int) -> tuple[Fields, bytes, Fields]:
        headers = self.fields(framing)
        body = self._body(framing, body_limit)
        trailers = self.fields(framing)
        if self._data.count(0, self._at) != len(self._data) - self._at:
            # "Non-zero padding bytes cause a message to be invalid" (section 3.8)
            raise MalformedInput("the padding is not zero")
        return headers, body, trailers

    def fields(self, framing: Framing) -> Fields:
        """One field section; a message may end before it, and then it is empty."""
        if self._ended():
            return ()
        if framing is Framing.INDETERMINATE_LENGTH:
            return self._lines()
        size = self.integer()
        if size > MAXIMUM_SECTION:
            raise TooLarge(f"a field section of {size} bytes, the cap is {MAXIMUM_SECTION}")
        # With a terminator of its own, a section of known length is one of indeterminate length.
        section = _Reader(self.take(size) + b"\x00")
        lines = section._lines()
        if not section._ended():
            raise MalformedInput("a field section holds a name without characters")
        return lines

    def _lines(self) -> Fields:
        """Field lines up to their terminator."""
        lines: list[tuple[str, str]] = []
        start = self._at
        while size := self.integer():
            if len(lines) == MAXIMUM_FIELDS:
                raise TooLarge(f"more than {MAXIMUM_FIELDS} fields in one section")
            lines.append((self.text(size), self.text(self.integer())))
            if self._at - start > MAXIMUM_SECTION:
                raise TooLarge(f"a field section of more than {MAXIMUM_SECTION} bytes")
        return tuple(lines)

    def _body(self, framing: Framing, limit: int) -> bytes:
        if self._ended():
            return b""
        if framing is Framing.KNOWN_LENGTH:
            return self._content(self.integer(), limit)
        chunks: list[bytes] = []
        while size := self.integer():
            chunks.append(self._content(size, limit))
            limit -= size
        return b"".join(chunks)

    def _content(self, size: int, limit: int) -> bytes:
        if size > limit:
            raise TooLarge(f"the body is {size - limit} bytes or more over its cap")
        return self.take(size)

    def _ended(self) -> bool:
        return self._at == len(self._data)


def _check_fields(fields: Fields) -> None:
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise MalformedInput("a field name is not a token in lower case")
        if not _VALUE.fullmatch(value) or value != value.strip(" \t"):
            raise MalformedInput(f"the value of {name} has control characters, or white space at an end")


def _put(parts: list[bytes], value: bytes) -> None:
    parts += (varint.encode(len(value)), value)


def _section(fields: Fields, framing: Framing) -> bytes:
    lines: list[bytes] = []
    for name, value in fields:
        _put(lines, name.encode("latin-1"))
        _put(lines, value.encode("latin-1"))
    section = b"".join(lines)
    return varint.encode(len(section)) + section if framing is Framing.KNOWN_LENGTH else section + b"\x00"
