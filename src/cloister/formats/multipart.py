"""Multipart bodies (RFC 7578 `multipart/form-data`): bytes to parts, the same for client, gateway and engine.

One parser for all three, so that the request digest (each part's name and the digest of its content) covers exactly
what the engine reads. What a part means is left to the engine.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from cloister.errors import MalformedInput, TooLarge

# The library's warnings quote bytes of the body, which may be a user's: they go nowhere.
_SILENT = logging.Logger("multipart", level=logging.CRITICAL + 1)  # noqa: LOG001 - must not be in the tree of loggers


@dataclass(frozen=True, slots=True)
class MultipartLimits:
    """Caps that hold before any work: bytes of the whole body, parts, headers of a part, bytes of one header."""

    body_bytes: int = 26 * 1024 * 1024  # OpenAI's 25 MiB for the file, and the form around it
    parts: int = 32
    headers: int = 8
    header_bytes: int = 4096


@dataclass(frozen=True, slots=True)
class PartHead:
    """What a part says of itself. `filename` is None for plain fields."""

    name: str
    filename: str | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """One field of the form. `content` is a view into the body, not a copy. `filename` is None for plain fields."""

    name: str
    filename: str | None
    content_type: str | None
    content: memoryview

    def text(self) -> str:
        """The content as UTF-8.

        Raises:
            MalformedInput: it is not.
        """
        return _utf8(bytes(self.content), f"the part {self.name!r}")


MAXIMUM_CONTENT_TYPE = 1024  # characters
DEFAULT_LIMITS = MultipartLimits()


class PartSink(Protocol):
    """What a form is read into, part after part."""

    def begin(self, head: PartHead) -> None:
        """A part begins."""

    def content(self, data: bytes, start: int, end: int) -> None:
        """More of its content: `data[start:end]`."""

    def end(self) -> None:
        """It is complete."""


def parse_multipart(body: bytes, content_type: str, *, limits: MultipartLimits = DEFAULT_LIMITS) -> tuple[Part, ...]:
    """The parts of `body` in their order; `content_type` is the request's header, with its boundary.

    Raises:
        TooLarge, MalformedInput: as `MultipartReader` does.
    """
    views = _Views(body)
    reader = MultipartReader(content_type, views, limits=limits)
    reader.feed(body)
    reader.end()
    return tuple(views.parts)


class MultipartReader:
    """Reads a multipart/form-data body that arrives in pieces, split anywhere, into `sink`."""

    def __init__(self, content_type: str, sink: PartSink, *, limits: MultipartLimits = DEFAULT_LIMITS) -> None:
        """`content_type` is the request's header, with its boundary.

        Raises:
            TooLarge: a content type of more than 1,024 characters.
            MalformedInput: it is not multipart/form-data, or names no boundary.
        """
        self._limits = limits
        self._left = limits.body_bytes
        try:
            self._parser = MultipartParser(
                _boundary(content_type),
                _Headers(sink, limits).callbacks(),  # type: ignore[arg-type]  # its TypedDict is not importable
                max_header_count=limits.headers,
                max_header_size=limits.header_bytes,
            )
        except FormParserError as error:
            raise MalformedInput("the multipart body is malformed") from error
        self._parser.logger = _SILENT

    def feed(self, data: bytes | bytearray) -> None:
        """More of the body.

        Raises:
            TooLarge: it is longer, or has more parts, than the limits allow.
            MalformedInput: it is none: a part without a name, a header twice, a transfer encoding.
        """
        self._left -= len(data)
        if self._left < 0:
            size = self._limits.body_bytes - self._left
            raise TooLarge(f"the body has {size} bytes or more, the cap is {self._limits.body_bytes}")
        try:
            self._parser.write(data)  # type: ignore[arg-type]  # it only searches and slices
        except FormParserError as error:
            raise MalformedInput("the multipart body is malformed") from error

    def end(self) -> None:
        """No more comes.

        Raises:
            MalformedInput: the form is not complete.
        """
        if self._parser.state != MultipartState.END:
            raise MalformedInput("the multipart body ends before its closing boundary")


def _boundary(content_type: str) -> bytes:
    if len(content_type) > MAXIMUM_CONTENT_TYPE:
        raise TooLarge(f"the content type has {len(content_type)} characters, the cap is {MAXIMUM_CONTENT_TYPE}")
    try:
        kind, options = parse_options_header(content_type)
    except UnicodeEncodeError as error:
        raise MalformedInput("the content type is not latin-1") from error
    if kind.strip() != b"multipart/form-data":
        raise MalformedInput("the content type is not multipart/form-data")
    if not options.get(b"boundary"):
        raise MalformedInput("the content type names no boundary")
    return options[b"boundary"]


@dataclass(slots=True)
class _Headers:
    """Gathers a part's headers from what the parser calls back, and passes its content on."""

    sink: PartSink
    limits: MultipartLimits
    parts: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    header: bytes = b""
    value: bytes = b""

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self.part_begin,
            "on_header_begin": self.header_begin,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_part_data": self.sink.content,
            "on_part_end": self.sink.end,
        }

    def part_begin(self) -> None:
        if self.parts == self.limits.parts:
            raise TooLarge(f"the multipart body has more than {self.limits.parts} parts")
        self.parts += 1
        self.headers = {}

    def header_begin(self) -> None:
        self.header = self.value = b""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end].lower()

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        if self.header in self.headers:
            raise MalformedInput("a part has the same header twice")
        self.headers[self.header] = self.value

    def headers_finished(self) -> None:
        if self.headers.get(b"content-transfer-encoding", b"binary").strip().lower() not in _PLAIN_ENCODINGS:
            raise MalformedInput("a part has a transfer encoding, which RFC 7578 section 4.7 ended")
        kind, options = parse_options_header(self.headers.get(b"content-disposition"))
        if kind.strip() != b"form-data" or b"name" not in options:
            raise MalformedInput("a part has no name")
        filename = options.get(b"filename")
        content_type = self.headers.get(b"content-type")
        self.sink.begin(
            PartHead(
                name=_utf8(options[b"name"], "a part's name"),
                filename=None if filename is None else _utf8(filename, "a part's file name"),
                content_type=None if content_type is None else content_type.decode("latin-1").strip(),
            )
        )


@dataclass(slots=True)
class _Views:
    """Parts as views of a body that is written in one piece: all offsets are into it."""

    body: bytes
    parts: list[Part] = field(default_factory=list)
    head: PartHead | None = None
    first: int | None = None
    last: int = 0

    def begin(self, head: PartHead) -> None:
        self.head, self.first, self.last = head, None, 0

    def content(self, _data: bytes, start: int, end: int) -> None:
        self.first, self.last = (start if self.first is None else self.first), end

    def end(self) -> None:
        assert self.head is not None  # the parser ends no part that did not begin
        content = memoryview(self.body)[self.first or 0 : self.last]
        self.parts.append(Part(self.head.name, self.head.filename, self.head.content_type, content))


_PLAIN_ENCODINGS = frozenset({b"binary", b"8bit", b"7bit"})


def _utf8(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedInput(f"{what} is not UTF-8") from error
