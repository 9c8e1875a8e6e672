"""One HTTP/1.1 request on a connection and its answer; then the connection is over. What requests mean is elsewhere.

It runs in a process that serves this one request and ends, so it waits in plain blocking calls: the process is killed
from outside when its peer has gone. Bodies arrive with a length or in chunks, answers leave whole or in chunks.
"""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools

MAXIMUM_HEAD = 16 * 1024  # bytes of request line and headers together
MAXIMUM_BODY = 26 * 1024 * 1024  # bytes: OpenAI's 25 MiB for the file, and the form around it
MAXIMUM_FRAMING = 64 * 1024  # bytes of chunk sizes and extensions in a row, which the parser keeps to itself
_READ = 256 * 1024
_STALL_SECONDS = 60  # between two pieces, in either direction
_DISCARD_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. Header names are in lower case; of a repeated header the last one counts."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: a whole body, or one that is sent piece by piece as it comes."""

    status: int
    content_type: str
    body: bytes | Iterator[bytes]

    @classmethod
    def json(cls, value: object, *, status: int = 200) -> Response:
        """`value` as a JSON answer."""
        return cls(status, "application/json", json.dumps(value, ensure_ascii=False).encode())

    def encode(self) -> Iterator[bytes]:
        """The bytes on the wire, in the pieces in which they should leave."""
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"content-type: {self.content_type}\r\n"
            "connection: close\r\n"
        ).encode("ascii")
        if isinstance(self.body, bytes):
            yield head + b"content-length: %d\r\n\r\n" % len(self.body) + self.body
            return
        yield head + b"transfer-encoding: chunked\r\n\r\n"
        for piece in self.body:
            if piece:
                yield b"%x\r\n%b\r\n" % (len(piece), piece)
        yield b"0\r\n\r\n"


Handler = Callable[[Request], Response]


def answer_one(connection: socket.socket, handle: Handler) -> None:
    """Read one request, have it handled, send the answer, and hang up.

    Raises:
        OSError: the peer went away, or stalled.
    """
    incoming = _Incoming()
    try:
        request = incoming.read(connection)
        if request is None:
            return
        response = handle(request)
    except _TooLarge:
        response = _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is over its cap.")
    except httptools.HttpParserError:
        response = _refusal(HTTPStatus.BAD_REQUEST, "This is not one HTTP/1.1 request.")
    for piece in response.encode():
        connection.sendall(piece)
    if not incoming.whole:
        _discard(connection)


def _discard(connection: socket.socket) -> None:
    """Let the peer find the refusal: hanging up on bytes that nobody read would cut it off."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(_DISCARD_SECONDS)
    while connection.recv(_READ):
        pass


class _TooLarge(Exception):
    """The request is over a cap."""


class _Incoming:
    """Gathers what the parser finds."""

    def __init__(self) -> None:
        self.whole = False
        self._too_large = False
        self._target = bytearray()
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._framing_bytes = 0
        self._body = io.BytesIO()  # gives its bytes away without a copy
        self._parser: Any = httptools.HttpRequestParser(self)

    def read(self, connection: socket.socket) -> Request | None:
        """The whole request; None where the peer hung up without one."""
        connection.settimeout(_STALL_SECONDS)
        while not self.whole:
            data = connection.recv(_READ)
            if not data:
                return None
            self._feed(data)
        path = self._target.decode("latin-1").partition("?")[0]
        method = self._parser.get_method().decode("ascii")
        return Request(method, path, self._headers, self._body.getvalue())

    def _feed(self, data: bytes) -> None:
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._too_large:
                raise _TooLarge from None
            raise
        if self._framing_bytes > MAXIMUM_FRAMING:
            raise _TooLarge

    # What httptools calls while it parses.

    def on_message_begin(self) -> None:
        if self.whole:
            raise ValueError  # a second request; there is one on a connection

    def on_url(self, data: bytes) -> None:
        self._head(len(data))
        self._target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head(len(name) + len(value))
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._framing_bytes = 0
        self._cap(int(self._headers.get("content-length", "0")), MAXIMUM_BODY)

    def on_body(self, data: bytes) -> None:
        self._framing_bytes = 0
        self._cap(self._body.tell() + len(data), MAXIMUM_BODY)
        self._body.write(data)

    def on_message_complete(self) -> None:
        self.whole = True

    def _head(self, size: int) -> None:
        self._head_bytes += size
        self._cap(self._head_bytes, MAXIMUM_HEAD)

    def _cap(self, size: int, cap: int) -> None:
        if size > cap:
            self._too_large = True
            raise _TooLarge


def _refusal(status: HTTPStatus, message: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Response.json({"error": error}, status=status)
