"""Multipart bodies (RFC 7578 `multipart/form-data`): bytes to parts, the same for client, gateway and engine.

One parser for all three, so that the request digest (each part's name and the digest of its content) covers exactly
what the engine reads. What a part means is left to the engine.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

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


def parse_multipart(body: bytes, content_type: str, *, limits: MultipartLimits = DEFAULT_LIMITS) -> tuple[Part, ...]:
    """The parts of `body` in their order; `content_type` is the request's header, with its boundary.

    Raises:
        TooLarge: the body is longer, or has more parts, than `limits` allow.
        MalformedInput: not a whole multipart/form-data body: no boundary, cut off, a part without a name, a header
            twice, a transfer encoding.
    """
    if len(body) > limits.body_bytes:
        raise TooLarge(f"the body has {len(body)} bytes, the cap is {limits.body_bytes}")
    collector = _Collector(body, limits)
    try:
        parser = MultipartParser(
            _boundary(content_type),
            collector.callbacks(),  # type: ignore[arg-type]  # its TypedDict is not importable at run time
            max_header_count=limits.headers,
            max_header_size=limits.header_bytes,
        )
        parser.logger = _SILENT
        parser.write(body)
    except FormParserError as error:
        raise MalformedInput("the multipart body is malformed") from error
    if parser.state != MultipartState.END:
        raise MalformedInput("the multipart body ends before its closing boundary")
    return tuple(collector.parts)


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
class _Collector:
    """Gathers what the parser calls back. All offsets are into `body`, since it is written in one piece."""

    body: bytes
    limits: MultipartLimits
    parts: list[Part] = field(default_factory=list)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    header: bytes = b""
    value: bytes = b""
    start: int | None = None
    end: int = 0

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self.part_begin,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_part_data": self.part_data,
            "on_part_end": self.part_end,
        }

    def part_begin(self) -> None:
        if len(self.parts) == self.limits.parts:
            raise TooLarge(f"the multipart body has more than {self.limits.parts} parts")
        self.headers, self.start, self.end = {}, None, 0

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.header, self.value = data[start:end].lower(), b""

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value = data[start:end]

    def header_end(self) -> None:
        if self.header in self.headers:
            raise MalformedInput("a part has the same header twice")
        self.headers[self.header] = self.value

    def part_data(self, _data: bytes, start: int, end: int) -> None:
        self.start, self.end = (start if self.start is None else self.start), end

    def part_end(self) -> None:
        if self.headers.get(b"content-transfer-encoding", b"binary").strip().lower() not in _PLAIN_ENCODINGS:
            raise MalformedInput("a part has a transfer encoding, which RFC 7578 section 4.7 ended")
        kind, options = parse_options_header(self.headers.get(b"content-disposition"))
        if kind.strip() != b"form-data" or b"name" not in options:
            raise MalformedInput("a part has no name")
        filename = options.get(b"filename")
        content_type = self.headers.get(b"content-type")
        self.parts.append(
            Part(
                name=_utf8(options[b"name"], "a part's name"),
                filename=None if filename is None else _utf8(filename, "a part's file name"),
                content_type=None if content_type is None else content_type.decode("latin-1").strip(),
                content=memoryview(self.body)[self.start or 0 : self.end],
            )
        )


_PLAIN_ENCODINGS = frozenset({b"binary", b"8bit", b"7bit"})


def _utf8(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedInput(f"{what} is not UTF-8") from error
