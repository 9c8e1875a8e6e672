"""A request whose body streams: summarised, encoded, sealed in chunks of one size, and padded at its end.

All chunks but the last are alike, whatever pieces the body comes in: the relay sees a padded size and times. Under
strict privacy nothing leaves before the body is whole, and the size is one of a few.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator

from cloister.client.exchange import MAXIMUM_REQUEST, UserRequest, check_path, inner_request
from cloister.client.relay import RelayUnavailable, Sent
from cloister.errors import TooLarge
from cloister.formats import binary_http_stream
from cloister.formats.key_config import KeyConfig
from cloister.formats.response_receipt import RequestSummary
from cloister.ohttp.chunked import MAXIMUM_CHUNK, RequestSealer, ResponseOpener, encapsulate
from cloister.ohttp.padding import padded_length, strict_length
from cloister.ohttp.privacy import STANDARD, Privacy
from cloister.provenance.answer import RunningSummary

KEPT = 2**20  # bytes of a body that are kept, in case the request has to go again


class NotSentAgain(RelayUnavailable):
    """The request was not taken, and is no longer held whole to be sent again. The caller can repeat it."""


class Upload:
    """One request; close it. `summary` is there once all of its body was read, `privacy` is what it asks for."""

    def __init__(
        self,
        request: UserRequest,
        body: AsyncIterable[bytes] | None = None,
        sent: Sent | None = None,
        *,
        privacy: Privacy = STANDARD,
    ) -> None:
        """`body` stands for the request's own, which then is not looked at; else `sent` is told how much of it left.

        Raises:
            TooLarge: the body is over 26 MiB.
            UsageError: a path that no contract can name.
        """
        check_path(request.path)
        if body is None and len(request.body) > MAXIMUM_REQUEST:
            raise TooLarge(f"a request of {len(request.body)} bytes, the cap is {MAXIMUM_REQUEST}")
        self.summary: RequestSummary | None = None
        self._request = request
        self._sent = sent or _nobody
        self.privacy = privacy
        self._source = None if body is None else aiter(body)
        self._next: asyncio.Task[bytes] | None = None
        self._kept: list[bytes] = []
        self._size = 0  # of what was read of the body
        self._read = asyncio.Event()

    def seal(self, config: KeyConfig, *, at: int) -> tuple[AsyncIterator[bytes], ResponseOpener]:
        """The encapsulated request as it is made, and what opens its answer; to the key of a verified bundle.

        It can be made again, one after the other, while `require_kept` lets it.
        """
        sealer, opener = encapsulate(config)
        sealed = self._sealed(sealer, at)
        return (sealed if self.privacy == STANDARD else _whole_first(sealed)), opener

    def require_kept(self) -> None:
        """Hold on where the request cannot be sent again.

        Raises:
            NotSentAgain: more than 1 MiB of its body was read.
        """
        if self._source is not None and self._size > KEPT:
            raise NotSentAgain(
                f"the gateway did not take the request, and more than {KEPT} bytes of it were sent already: ask again"
            )

    async def read_whole(self, seconds: float) -> RequestSummary | None:
        """The summary, awaited for `seconds`; nothing where the body did not end by then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._read.wait()
        return self.summary

    async def aclose(self) -> None:
        """Wait for nothing more of the body."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
            self._next = None

    async def _sealed(self, sealer: RequestSealer, at: int) -> AsyncIterator[bytes]:
        yield sealer.head
        running = RunningSummary(self._request.method, self._request.path, self._request.header("content-type"))
        chunks = _Chunks(sealer, padded_length if self.privacy == STANDARD else strict_length)
        chunks.put(binary_http_stream.start(inner_request(self._request, at=at, privacy=self.privacy)))
        async for piece in self._pieces():
            running.update(piece)
            chunks.put(binary_http_stream.content(piece))
            for chunk in chunks.full():
                yield chunk
        self.summary = running.summary()
        self._read.set()
        chunks.put(binary_http_stream.finish())
        for chunk in chunks.rest():
            yield chunk

    async def _pieces(self) -> AsyncIterator[bytes]:
        """The body from its beginning: what is kept of it, then what comes."""
        if self._source is None:
            body = self._request.body
            for at in range(0, len(body), MAXIMUM_CHUNK):
                yield body[at : at + MAXIMUM_CHUNK]
                self._sent(min(at + MAXIMUM_CHUNK, len(body)), len(body))
        for piece in list(self._kept):
            yield piece
        while self._source is not None and (piece := await self._receive(self._source)):
            self._size += len(piece)
            if self._size > MAXIMUM_REQUEST:
                raise TooLarge(f"a request of more than {MAXIMUM_REQUEST} bytes, which is the cap")
            if self._size <= KEPT:
                self._kept.append(piece)
            else:
                self._kept.clear()
            yield piece

    async def _receive(self, source: AsyncIterator[bytes]) -> bytes:
        """The next piece of the body, empty at its end; asked for once, even where the one who waits is cancelled."""
        if self._next is None:
            self._next = asyncio.create_task(_next_piece(source))
        piece = await asyncio.shield(self._next)
        if piece:
            self._next = None
        return piece


class _Chunks:
    """Cuts an encoded message into chunks of one size."""

    def __init__(self, sealer: RequestSealer, padded: Callable[[int], int]) -> None:
        """`padded` says how long a message is to be that has so many bytes."""
        self._sealer = sealer
        self._padded = padded
        self._waiting = bytearray()
        self._length = 0  # of the encoded message so far

    def put(self, data: bytes) -> None:
        """More of the message."""
        self._waiting += data
        self._length += len(data)

    def full(self) -> Iterator[bytes]:
        """The chunks that are full, and not the last."""
        while len(self._waiting) > MAXIMUM_CHUNK:
            yield self._sealer.seal(self._waiting[:MAXIMUM_CHUNK])
            del self._waiting[:MAXIMUM_CHUNK]

    def rest(self) -> Iterator[bytes]:
        """What is left, after which the message has its padded length."""
        missing = self._padded(self._length) - self._length
        while missing:
            zeros = bytes(min(missing, MAXIMUM_CHUNK))
            self.put(zeros)
            missing -= len(zeros)
            yield from self.full()
        yield from self.full()
        yield self._sealer.finish(self._waiting)


async def _whole_first(sealed: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """All of a sealed request, once it is whole: how fast its body came shows nowhere."""
    for piece in [piece async for piece in sealed]:
        yield piece


async def _next_piece(source: AsyncIterator[bytes]) -> bytes:
    async for piece in source:
        if piece:
            return piece
    return b""


def _nobody(_done: int, _all: int) -> None:
    """Nobody watches."""
