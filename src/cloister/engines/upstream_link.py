"""One request to the upstream and its answer, held to the grammar of HTTP/1.1, to sizes and to times.

It runs in a process that serves this one request and ends, so it waits in plain blocking calls.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import httptools

from cloister.engines.upstream_errors import UpstreamError, failed, slow

_READ: Final = 64 * 1024
_MAXIMUM_HEAD: Final = 16 * 1024
_MAXIMUM_FRAMING: Final = 64 * 1024
_CONNECT_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where the upstream listens, how long it may be silent, and the most bytes of an answer."""

    address: str | tuple[str, int]
    silence_seconds: float
    answer_bytes: int

    def connect(self) -> socket.socket:
        """A connection.

        Raises:
            OSError: it does not listen.
        """
        link = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET, socket.SOCK_STREAM)
        try:
            link.settimeout(_CONNECT_SECONDS)
            link.connect(self.address)
            link.settimeout(self.silence_seconds)
        except BaseException:
            link.close()
            raise
        return link


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the upstream gets it: nothing of the client's head but what is said here."""

    method: str
    path: str
    content_type: str | None = None
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        """The bytes on the wire."""
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            "host: localhost",
            "connection: close",
            "accept-encoding: identity",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.content_type is not None:
            lines += [f"content-type: {self.content_type}", f"content-length: {len(self.body)}"]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + self.body


@dataclass(slots=True)
class Answered:
    """The head of an answer, and its body as it comes."""

    status: int
    content_type: str
    pieces: Iterator[bytes]

    def whole(self) -> bytes:
        """All of the body."""
        return b"".join(self.pieces)


def ask(place: Place, asked: Asked) -> Answered:
    """Ask, and return when the head of the answer is here.

    Raises:
        UpstreamError: it is not there, says nothing in time, or answers what is not HTTP, or over its cap; the body's
            pieces raise it too.
    """
    try:
        link = place.connect()
    except OSError as error:  # or a timeout, which is one
        raise _gone() from error
    reading = _Reading(place.answer_bytes)
    try:
        link.sendall(asked.encode())
        while not reading.has_head:
            _feed(reading, link, place.silence_seconds)
    except TimeoutError as error:
        link.close()
        raise slow(place.silence_seconds) from error
    except OSError as error:
        link.close()
        raise _gone() from error
    except UpstreamError:
        link.close()
        raise
    return Answered(reading.status, reading.headers.get("content-type", ""), _pieces(reading, link, place))


def _gone() -> UpstreamError:
    return UpstreamError(HTTPStatus.SERVICE_UNAVAILABLE, "The model's server is not there.", code="upstream_gone")


def _pieces(reading: _Reading, link: socket.socket, place: Place) -> Iterator[bytes]:
    """The body, piece by piece; without a length or chunks its end could be a cut, and is one."""
    with link:
        while True:
            yield reading.take()
            if reading.whole:
                return
            _feed(reading, link, place.silence_seconds)


def _feed(reading: _Reading, link: socket.socket, seconds: float) -> None:
    try:
        data = link.recv(_READ)
    except TimeoutError as error:
        raise slow(seconds) from error
    except OSError as error:
        raise failed("The model's server ended its answer before it was whole.") from error
    if not data:
        raise failed("The model's server ended its answer before it was whole.")
    reading.feed(data)


@dataclass(slots=True)
class _Reading:
    """Gathers what the parser finds."""

    limit: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    has_head: bool = False
    whole: bool = False
    _pieces: list[bytes] = field(default_factory=list)
    _head_bytes: int = 0
    _framing_bytes: int = 0
    _body_bytes: int = 0
    _parser: Any = None

    def __post_init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise failed() from error
        if self._framing_bytes > _MAXIMUM_FRAMING:
            raise failed()

    def take(self) -> bytes:
        """What has come of the body since; in one piece, however small the server cut it."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    # What httptools calls while it parses; what is raised here ends the parsing.

    def on_message_begin(self) -> None:
        if self.whole:
            raise ValueError  # a second answer

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        key = name.decode("latin-1").lower()
        if self._head_bytes > _MAXIMUM_HEAD or (key in self.headers and key in {"content-length", "content-type"}):
            raise ValueError
        self.headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        coded = self.headers.get("content-encoding", "identity") != "identity"
        if not 200 <= self.status <= 599 or coded or int(self.headers.get("content-length", "0")) > self.limit:
            raise ValueError
        self._framing_bytes = 0
        self.has_head = True

    def on_body(self, data: bytes) -> None:
        self._framing_bytes = 0
        self._body_bytes += len(data)
        if self._body_bytes > self.limit:
            raise ValueError
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self.whole = True
