"""A small HTTP/1.1 server on the one socket that an engine inherits. What requests mean is left to its handler.

One request is served at a time: a sandbox holds one engine, and more engines are more sandboxes, so that a crash or a
hang costs one request. Its only peer is our gateway; connections are kept alive. A handler's unforeseen exception ends
the process: the supervisor outside restarts it, and nothing of a broken state serves the next request.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httptools

MAXIMUM_HEAD = 16 * 1024  # bytes of request line and headers together
MAXIMUM_BODY = 26 * 1024 * 1024  # bytes: OpenAI's 25 MiB for the file, and the form around it
_READ = 256 * 1024
_SEND_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request. Header names are in lower case; of a repeated header the last one counts."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    status: int
    content_type: str
    body: bytes

    @classmethod
    def json(cls, value: object, *, status: int = 200) -> Response:
        """`value` as a JSON answer."""
        return cls(status, "application/json", json.dumps(value).encode())

    def encode(self, *, keep: bool) -> bytes:
        """The bytes on the wire."""
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"content-type: {self.content_type}\r\n"
            f"content-length: {len(self.body)}\r\n"
            f"connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        return head.encode("ascii") + self.body


Handler = Callable[[Request], Response]


def inherited_listener() -> socket.socket:
    """The listening unix socket whose descriptor the sandbox names in LISTEN_FD."""
    return socket.socket(fileno=int(os.environ["LISTEN_FD"]))  # noqa: TID251 - the one setting an engine has


def serve(listener: socket.socket, handle: Handler) -> None:
    """Answer requests on `listener`, one after the other, until the process is ended."""
    with selectors.DefaultSelector() as selector:
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    _accept(listener, selector, handle)
                elif not key.data.read():
                    selector.unregister(key.fileobj)
                    key.data.socket.close()


def _accept(listener: socket.socket, selector: selectors.BaseSelector, handle: Handler) -> None:
    try:
        connected, _ = listener.accept()
    except (BlockingIOError, ConnectionAbortedError):
        return
    connected.settimeout(_SEND_SECONDS)
    selector.register(connected, selectors.EVENT_READ, _Connection(connected, handle))


class _TooLarge(Exception):
    """The request is over a cap; raised inside the parser's callbacks."""


@dataclass(slots=True)
class _Connection:
    """One kept-alive connection: gathers a request, has it handled, sends the answer."""

    socket: socket.socket
    handle: Handler
    parser: Any = None
    target: bytearray = field(default_factory=bytearray)
    headers: dict[str, str] = field(default_factory=dict)
    head_bytes: int = 0
    body: bytearray = field(default_factory=bytearray)
    arrived: list[tuple[Request, bool]] = field(default_factory=list)  # with whether the peer keeps the connection
    open: bool = True

    def __post_init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)

    def read(self) -> bool:
        """Take what has arrived; False when the connection is over."""
        try:
            data = self.socket.recv(_READ)
            if not data:
                return False
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _TooLarge):
                raise
            self.send(_refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is over its cap"), keep=False)
        except httptools.HttpParserError:
            self.send(_refusal(HTTPStatus.BAD_REQUEST, "not an HTTP/1.1 request"), keep=False)
        except OSError:  # the peer went away
            return False
        while self.open and self.arrived:
            request, keep = self.arrived.pop(0)
            self.send(self.handle(request), keep=keep)
        return self.open

    def send(self, response: Response, *, keep: bool) -> None:
        self.open = keep
        try:
            self.socket.sendall(response.encode(keep=keep))
        except OSError:
            self.open = False

    # What httptools calls while it parses.

    def on_message_begin(self) -> None:
        self.target, self.headers, self.head_bytes, self.body = bytearray(), {}, 0, bytearray()

    def on_url(self, data: bytes) -> None:
        self._head(len(data))
        self.target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head(len(name) + len(value))
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if int(self.headers.get("content-length", "0")) > MAXIMUM_BODY:
            raise _TooLarge

    def on_body(self, data: bytes) -> None:
        if len(self.body) + len(data) > MAXIMUM_BODY:
            raise _TooLarge
        self.body += data

    def on_message_complete(self) -> None:
        path = self.target.decode("latin-1").partition("?")[0]
        request = Request(self.parser.get_method().decode("ascii"), path, self.headers, bytes(self.body))
        self.body = bytearray()
        self.arrived.append((request, self.parser.should_keep_alive()))

    def _head(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > MAXIMUM_HEAD:
            raise _TooLarge


def _refusal(status: HTTPStatus, message: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Response.json({"error": error}, status=status)
