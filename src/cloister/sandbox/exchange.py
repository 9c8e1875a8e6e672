"""One HTTP/1.1 exchange with an engine, which may have fallen to hostile input: its answers are capped."""

from __future__ import annotations

import asyncio
import contextlib

import httptools

from cloister.errors import MalformedInput
from cloister.formats.binary_http import Request, Response
from cloister.sandbox.errors import EngineCrashed

MAXIMUM_ANSWER = 16 * 1024 * 1024  # bytes
_MAXIMUM_HEAD = 16 * 1024
_MAXIMUM_FRAMING = 64 * 1024  # bytes in a row that are neither the end of the head nor body: the parser keeps them
_READ = 64 * 1024
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"})


def head(request: Request) -> bytes:
    """The bytes before the body. Host, length and connection are ours to say; a `Request` holds no line breaks."""
    lines = [f"{request.method} {request.path} HTTP/1.1", "host: engine", f"content-length: {len(request.body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers if name not in _OURS]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request
) -> tuple[Response, bool]:
    """Ask, and wait for the whole answer; with it, whether the connection is good for another one.

    Raises:
        EngineCrashed: the connection ended before the answer did, or the answer is not HTTP, or over its cap, or
            something was said before anything was asked.
    """
    await _refuse_unasked(reader)
    answer = _Answer()
    try:
        writer.write(head(request))
        writer.write(request.body)
        await writer.drain()
    except OSError:
        pass  # it may have answered, with a refusal, before it read all
    try:
        while not answer.whole and (data := await reader.read(_READ)):
            answer.feed(data)
    except OSError as error:
        raise EngineCrashed("its connection ended before the answer did") from error
    if not answer.whole:
        raise EngineCrashed("its connection ended before the answer did")
    try:
        return Response(answer.status, tuple(answer.headers), answer.body), answer.keep
    except MalformedInput as error:
        raise EngineCrashed("its answer is not HTTP, or over its cap") from error


async def _refuse_unasked(reader: asyncio.StreamReader) -> None:
    """What is there before the request was sent would be taken for its answer, and be the last user's doing."""
    for _ in range(2):  # the loop's turns in which it finds and takes what the kernel already holds
        await asyncio.sleep(0)
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(0):
            if await reader.read(1):
                raise EngineCrashed("it answered before it was asked")


class _Answer:
    """Gathers what the parser finds."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.whole = False
        self.keep = False
        self._body = bytearray()
        self._head_bytes = 0
        self._framing_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._framing_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise EngineCrashed("its answer is not HTTP, or over its cap") from error
        if self._framing_bytes > _MAXIMUM_FRAMING:
            raise EngineCrashed("its answer is not HTTP, or over its cap")

    def on_headers_complete(self) -> None:
        self._framing_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _MAXIMUM_HEAD:
            raise ValueError
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        if len(self._body) + len(data) > MAXIMUM_ANSWER:
            raise ValueError
        self._body += data
        self._framing_bytes = 0

    def on_message_begin(self) -> None:
        if self.whole:
            raise ValueError

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.body = bytes(self._body)
        self.keep = self._parser.should_keep_alive()
        self.whole = True
