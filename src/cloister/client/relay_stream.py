"""One chunked exchange with a relay: the request goes out as it is made, the answer comes as it arrives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator

import aiohttp

from cloister.client.relay import (
    MAXIMUM_ANSWER,
    REQUEST_PATH,
    Relay,
    RelayReply,
    RelayUnavailable,
    Waits,
    reply_of,
)
from cloister.errors import TooLarge
from cloister.ohttp.chunked import REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE

MAXIMUM_PROBLEM = 65_536  # bytes of an answer that is not sealed
_HEADERS = {"Content-Type": REQUEST_MEDIA_TYPE, "Incremental": "?1"}  # of every client, section 3 of the draft


@contextlib.asynccontextmanager
async def stream_through(
    relay: Relay, request: AsyncIterable[bytes], *, limit: int = MAXIMUM_ANSWER
) -> AsyncIterator[RelayStream]:
    """Post a chunked encapsulated request once; within the context its answer, at most `limit` bytes, can be read.

    The answer may come before all of the request is out. Leaving the context closes the connection, unless both have
    ended.

    Raises:
        RelayUnavailable: there is no answer, or it breaks off.
        Exception: what `request` raised.
    """
    upload = _Upload(request, relay.waits)
    with _errors(relay, upload):
        async with asyncio.timeout(None) as upload.limit:
            response = await relay.http().post(
                relay.url + REQUEST_PATH,
                data=upload,
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=relay.waits.connect_seconds),
                allow_redirects=False,
            )
        upload.limit = None
    try:
        yield RelayStream(relay, upload, response, limit)
    finally:
        response.close()  # of a connection whose answer has ended nothing is left to close


class RelayStream:
    """An answer on its way; nothing in it is trusted."""

    def __init__(self, relay: Relay, upload: _Upload, response: aiohttp.ClientResponse, limit: int) -> None:
        self._relay = relay
        self._upload = upload
        self._response = response
        self._left = self._limit = limit
        self.is_sealed = response.status == 200 and response.content_type == RESPONSE_MEDIA_TYPE

    async def receive(self) -> bytes:
        """What has arrived, at least a byte; empty at the end.

        Raises:
            RelayUnavailable: it breaks off, stalls, or is over the cap.
            Exception: what the request's source raised.
        """
        with _errors(self._relay, self._upload):
            async with asyncio.timeout(self._relay.waits.answer_seconds):
                data = await self._response.content.readany()
            self._left -= len(data)
            if self._left < 0:
                raise TooLarge(f"a body over the cap of {self._limit} bytes")
        return data

    async def reply(self) -> RelayReply:
        """An answer that is not sealed, of which at most 64 KiB count."""
        body = b""
        while len(body) < MAXIMUM_PROBLEM and (data := await self.receive()):
            body += data
        return reply_of(self._response, body[:MAXIMUM_PROBLEM])


class _Upload(AsyncIterator[bytes]):
    """The request as the HTTP library takes it: each piece within its time, and with the error that ended it."""

    def __init__(self, request: AsyncIterable[bytes], waits: Waits) -> None:
        self._waits = waits
        self._pieces = aiter(request)
        self.limit: asyncio.Timeout | None = None  # of waiting for the answer's head
        self.error: BaseException | None = None

    async def __anext__(self) -> bytes:
        self._within(None)  # it is the source that is waited for
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._within(self._waits.answer_seconds)
            raise
        except BaseException as error:  # the library would only say that sending failed
            self.error = error
            raise
        self._within(self._waits.piece_seconds)
        return piece

    def _within(self, seconds: float | None) -> None:
        if self.limit is not None:
            self.limit.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)


@contextlib.contextmanager
def _errors(relay: Relay, upload: _Upload) -> Iterator[None]:
    try:
        with relay.errors(relay.waits.answer_seconds):
            yield
    except RelayUnavailable:
        if isinstance(upload.error, Exception):
            raise upload.error from None  # it was not the relay that broke off
        raise
