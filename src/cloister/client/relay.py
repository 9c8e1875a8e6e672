"""Speaks to a relay: its two routes, with nothing in either that tells one client from another."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import aiohttp

from cloister.errors import TooLarge, Unavailable, UsageError
from cloister.formats.key_bundle import MAXIMUM_BUNDLE
from cloister.hosting.tls import require_private, verifying_context
from cloister.ohttp.encapsulation import REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE
from cloister.ohttp.records import RECORD_SIZE, TOTALS

BUNDLE_PATH = "/bundle"
REQUEST_PATH = "/gateway"
MAXIMUM_ANSWER = 36 * 1024 * 1024  # bytes of an encapsulated response: a body of 32 MiB, padded
MAXIMUM_RECORDS = 2 * TOTALS[-1] * RECORD_SIZE  # bytes of one in records, with what is around each
MAXIMUM_FRESH = 3600  # seconds
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])")
_PIECE = 65_536


Sent = Callable[[int, int], None]  # told how many bytes of how many have left


class RelayUnavailable(Unavailable):
    """The relay, or what is behind it, gives no answer now."""


class RelayNotReached(RelayUnavailable):
    """The relay takes no connection; nothing was sent."""


class RelayTooSlow(RelayUnavailable):
    """The relay gave no answer in its time."""


class RelayReply(NamedTuple):
    """What came back for an encapsulated request; nothing in it is trusted."""

    status: int
    media_type: str
    body: bytes
    fresh_seconds: int = 0  # by its Cache-Control and Age (RFC 9111), 0 to 3600
    retry_seconds: int = 0  # by its Retry-After, 0 to 3600; 0 where it does not say

    @property
    def is_sealed(self) -> bool:
        """Whether it claims to be an encapsulated response."""
        return self.status == 200 and self.media_type == RESPONSE_MEDIA_TYPE


class BundleReply(NamedTuple):
    """The bytes of a key bundle, and for how many seconds the relay will give the same ones."""

    data: bytes
    fresh_seconds: int


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a client waits for its relay, at most."""

    connect_seconds: float = 10.0
    bundle_seconds: float = 30.0
    piece_seconds: float = 60.0  # in which the relay takes a piece of a request that is streamed
    answer_seconds: float = 720.0  # a little longer than the relay waits for its gateway
    left_seconds: float = 5.0  # that an answer in records which nobody wants any more is read on, where it does not end
    upload_seconds: float = 20.0  # that a request which the gateway answered may still take to end


class Relay:
    """One relay, over kept-alive connections that carry no cookies, user agent or proxy of the environment."""

    def __init__(self, url: str, *, authorities: Path | None = None, waits: Waits | None = None) -> None:
        """Prepare to ask.

        Args:
            url: the relay's, without a path: `https://relay.example`, or `http://127.0.0.1:8400` on this machine.
            authorities: a PEM file of those who may sign the relay's certificate; the machine's own list without it.
            waits: how long it is waited for; the usual times without it.

        Raises:
            UsageError: not such a URL, or the file holds no certificates.
        """
        if not url.startswith(("http://", "https://")) or "?" in url or "#" in url:
            raise UsageError(f"{url!r} is not a relay's URL; one looks like https://relay.example")
        require_private(url)
        self.url = url.rstrip("/")
        self.waits = waits or Waits()
        self._tls = verifying_context(authorities) if url.startswith("https://") else True
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def bundle(self) -> BundleReply:
        """The key bundle, at most 4 MiB.

        Raises:
            RelayUnavailable: none came.
        """
        reply = await self._ask("GET", BUNDLE_PATH, None, seconds=self.waits.bundle_seconds, limit=MAXIMUM_BUNDLE)
        if reply.status != 200:
            raise RelayUnavailable(f"the relay {self.url} gave no key bundle: it answered {reply.status}")
        return BundleReply(reply.body, reply.fresh_seconds)

    async def post(self, request: bytes, sent: Sent | None = None) -> RelayReply:
        """What the relay brings back for an encapsulated request. It is sent once; `sent` is told how far that is.

        Raises:
            RelayUnavailable: nothing came back.
        """
        seconds = self.waits.answer_seconds
        return await self._ask("POST", REQUEST_PATH, request, sent, seconds=seconds, limit=MAXIMUM_ANSWER)

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _ask(
        self, method: str, path: str, body: bytes | None, sent: Sent | None = None, *, seconds: float, limit: int
    ) -> RelayReply:
        headers, data = {}, None
        if body is not None:
            # The length is said either way: nothing on the wire tells that someone watches.
            headers = {"Content-Type": REQUEST_MEDIA_TYPE, "Content-Length": str(len(body))}
            data = body if sent is None else _told(body, sent)
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=self.waits.connect_seconds)
        with self.errors(seconds):
            async with self.http().request(
                method, self.url + path, data=data, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                body = await _read(response, limit)
                return reply_of(response, body)

    def http(self) -> aiohttp.ClientSession:
        """The connections, which live until `close`."""
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        return self._http

    @contextlib.contextmanager
    def errors(self, seconds: float) -> Iterator[None]:
        """Say what went wrong with the relay, of which an answer was awaited for `seconds`.

        Raises:
            RelayUnavailable: as it says.
        """
        connecting = self.waits.connect_seconds
        try:
            yield
        except aiohttp.ConnectionTimeoutError as error:
            raise RelayNotReached(f"the relay {self.url} takes no connection in {connecting:.0f} s") from error
        except TimeoutError as error:
            raise RelayTooSlow(f"the relay {self.url} did not answer within {seconds:.0f} s") from error
        except TooLarge as error:
            raise RelayUnavailable(f"the relay {self.url} sent more than it may: {error}") from error
        except aiohttp.ClientConnectorError as error:
            raise RelayNotReached(f"the relay {self.url} takes no connections: {_why(error.os_error)}") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise RelayUnavailable(f"the relay {self.url} broke off: {type(error).__name__}") from error


def _why(error: OSError) -> str:
    """The system's words for why no connection was made; asyncio's own repeat the address."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or "its name is not known"


async def _told(body: bytes, sent: Sent) -> AsyncIterator[bytes]:
    """The body in pieces; `sent` is told of each when the connection has taken it."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
        sent(min(start + _PIECE, len(body)), len(body))


def reply_of(response: aiohttp.ClientResponse, body: bytes) -> RelayReply:
    """What came back, with the `body` that was read."""
    said = response.headers.get("Retry-After", "")
    retry_seconds = min(int(said), MAXIMUM_FRESH) if said.isdecimal() and len(said) < 10 else 0
    return RelayReply(response.status, response.content_type, body, _fresh_seconds(response), retry_seconds)


def _fresh_seconds(response: aiohttp.ClientResponse) -> int:
    """What is left of the answer's freshness; it says when asking again can bring something new, and nothing else."""
    age = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
    so_far = response.headers.get("Age", "0")
    left = (int(age.group(1)) if age else 0) - (int(so_far) if so_far.isdecimal() and len(so_far) < 10 else 0)
    return min(max(0, left), MAXIMUM_FRESH)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, refused as soon as it is longer than `limit` bytes."""
    pieces, size = [], 0
    async for piece in response.content.iter_chunked(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise TooLarge(f"a body over the cap of {limit} bytes")
    return b"".join(pieces)
