"""One HTTP/1.1 exchange with an engine, which may have fallen to hostile input: its answers are capped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httptools

from cloister.sandbox.errors import EngineCrashed

MAXIMUM_ANSWER = 16 * 1024 * 1024  # bytes
_MAXIMUM_HEAD = 16 * 1024
_READ = 64 * 1024

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A whole request; the length and connection headers are ours to add."""

    method: str
    path: str
    headers: tuple[Header, ...]
    body: bytes

    def head(self) -> bytes:
        """The bytes before the body.

        Raises:
            ValueError: a line break where it would begin another header, or another request.
        """
        lines = [f"{self.method} {self.path} HTTP/1.1", "host: engine", f"content-length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if any("\r" in line or "\n" in line or "\0" in line for line in lines):
            raise ValueError("a line break in a request's head")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(slots=True)
class EngineReply:
    """A whole answer. Header names are in lower case."""

    status: int = 0
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: EngineRequest
) -> tuple[EngineReply, bool]:
    """Ask, and wait for the whole answer; with it, whether the connection is good for another one.

    Raises:
        EngineCrashed: the connection ended before the answer did, or the answer is not HTTP, or over its cap.
    """
    answer = _Answer()
    try:
        writer.write(request.head())
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
    return answer.reply, answer.keep


class _Answer:
    """Gathers what the parser finds."""

    def __init__(self) -> None:
        self.reply = EngineReply()
        self.whole = False
        self.keep = False
        self._body = bytearray()
        self._head_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise EngineCrashed("its answer is not HTTP, or over its cap") from error

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _MAXIMUM_HEAD:
            raise ValueError
        self.reply.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        if len(self._body) + len(data) > MAXIMUM_ANSWER:
            raise ValueError
        self._body += data

    def on_message_begin(self) -> None:
        if self.whole:
            raise ValueError

    def on_message_complete(self) -> None:
        self.reply.status = self._parser.get_status_code()
        self.reply.body = bytes(self._body)
        self.keep = self._parser.should_keep_alive()
        self.whole = True
