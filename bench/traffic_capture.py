"""One exchange as a relay sees it: how many bytes it read from the gateway's connection, and when.

What the client makes of the same bytes stands beside it: when the first word of the answer was there, when the last.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from email.utils import formatdate

import gateway as bench

from cloister.formats.binary_http import Framing, Request, encode_head
from cloister.formats.binary_http_stream import ResponseDecoder, content, finish
from cloister.formats.key_config import KeyConfig
from cloister.ohttp.chunked import MAXIMUM_CHUNK, RequestSealer, ResponseOpener, encapsulate
from cloister.ohttp.padding import padded_length, strict_length
from cloister.ohttp.records import RecordReader

KEY_ID = 8
HEAD = (
    b"POST /gateway HTTP/1.1\r\nhost: gateway\r\ncontent-type: message/ohttp-chunked-req\r\ncontent-length: %d\r\n\r\n"
)
CLEAR = b"POST /v1/chat/completions HTTP/1.1\r\nhost: engine\r\ncontent-length: %d\r\n\r\n"
PROMPT = "x" * 2000  # of every request the same, so that answers alone are looked at


@dataclass
class Capture:
    """Seconds since the request went, and bytes, of each read; and what the client had."""

    seen: list[tuple[float, int]] = field(default_factory=list)
    sent: int = 0  # bytes
    first: float = 0.0  # seconds, to the first word
    last: float = 0.0  # and to all of them, proved
    text: int = 0  # bytes of content


class Opened:
    """What a client makes of a sealed answer."""

    def __init__(self, opener: ResponseOpener, *, strict: bool) -> None:
        self.opener, self.decoder = opener, ResponseDecoder()
        self.records = RecordReader() if strict else None
        self.body = Chunks()
        self.writes = 0  # of the gateway's, each with what it had at once

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of content that came."""
        chunks = self.body.feed(data)
        self.writes += len(chunks)
        opened = b"".join(map(self.opener.feed, chunks))
        if self.body.ended:
            opened += self.opener.end()
        pieces = self.decoder.feed(self.records.feed(opened) if self.records else opened)
        if self.body.ended:
            if self.records:
                self.records.end()
            self.decoder.end()
        return pieces


class Chunks:
    """The content of a chunked HTTP answer, behind its head."""

    def __init__(self) -> None:
        self.held, self.ended, self.headed = b"", False, False

    def feed(self, data: bytes) -> list[bytes]:
        self.held += data
        found: list[bytes] = []
        if not self.headed:
            head, end, rest = self.held.partition(b"\r\n\r\n")
            if not end:
                return found
            if not head.startswith(b"HTTP/1.1 200 ") or b"chunked\r\n" not in head + b"\r\n":
                raise SystemExit(f"no answer in chunks: {head!r}")
            self.held, self.headed = rest, True
        while not self.ended and b"\r\n" in self.held:
            size, _, rest = self.held.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            self.held, self.ended = rest[length + 2 :], length == 0
            if length:
                found.append(rest[:length])
        return found


async def captured(level: str, engine: str, port: int, asked: dict[str, object]) -> Capture:
    """The answer to `asked`: at level none straight from the engine's socket, else from the gateway's port."""
    body = json.dumps(asked | {"prompt": PROMPT}).encode()
    capture = Capture()
    if level == "none":
        reader, writer = await asyncio.open_unix_connection(engine)
        opened, message = None, CLEAR % len(body) + body
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sealed, opener = request(body, strict=level == "strict")
        opened, message = Opened(opener, strict=level == "strict"), HEAD % len(sealed) + sealed
    chunks = Chunks()
    writer.write(message)
    started, capture.sent = time.monotonic(), len(message)
    ended = False
    while not ended and (data := await reader.read(65_536)):
        at = time.monotonic() - started
        capture.seen.append((at, len(data)))
        count = sum(map(len, chunks.feed(data) if opened is None else opened.feed(data)))
        ended = chunks.ended if opened is None else opened.body.ended
        capture.first = capture.first or (at if count else 0.0)
        capture.text += count
        capture.last = at
    writer.close()
    if not ended:
        raise SystemExit("an answer broke off")
    return capture


def request(body: bytes, *, strict: bool) -> tuple[bytes, ResponseOpener]:
    """A sealed request with this body, padded as a client does, and what opens its answer."""
    key = bench.KEYS[KEY_ID]
    sealer, opener = encapsulate(KeyConfig(KEY_ID, key.kem, key.public))
    headers = [("content-type", "application/json"), ("date", formatdate(time.time(), usegmt=True))]
    headers += [("cloister-privacy", "strict")] if strict else []
    inner = encode_head(
        Request("POST", "https", "gateway", bench.ENDPOINT.path, tuple(headers)), framing=Framing.INDETERMINATE_LENGTH
    )
    inner += content(body) + finish()
    inner += bytes((strict_length if strict else padded_length)(len(inner)) - len(inner))
    return _chunks(sealer, inner), opener


def _chunks(sealer: RequestSealer, inner: bytes) -> bytes:
    last = (len(inner) - 1) // MAXIMUM_CHUNK * MAXIMUM_CHUNK
    before = [sealer.seal(inner[at : at + MAXIMUM_CHUNK]) for at in range(0, last, MAXIMUM_CHUNK)]
    return b"".join([sealer.head, *before, sealer.finish(inner[last:])])
