"""Speaks to a relay: its two routes, with nothing in either that tells one client from another."""

from __future__ import annotations

from typing import NamedTuple, Self

import aiohttp

from cloister.errors import TooLarge, Unavailable, UsageError
from cloister.formats.key_bundle import MAXIMUM_BUNDLE
from cloister.ohttp.encapsulation import REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE

BUNDLE_PATH = "/bundle"
REQUEST_PATH = "/gateway"
MAXIMUM_ANSWER = 36 * 1024 * 1024  # bytes of an encapsulated response: a body of 32 MiB, padded
BUNDLE_SECONDS = 30.0
ANSWER_SECONDS = 660.0  # a little longer than the relay waits for its gateway
CONNECT_SECONDS = 10.0
_PIECE = 65_536


class RelayUnavailable(Unavailable):
    """The relay, or what is behind it, gives no answer now."""


class RelayReply(NamedTuple):
    """What came back for an encapsulated request; nothing in it is trusted."""

    status: int
    media_type: str
    body: bytes

    @property
    def is_sealed(self) -> bool:
        """Whether it claims to be an encapsulated response."""
        return self.status == 200 and self.media_type == RESPONSE_MEDIA_TYPE


class Relay:
    """One relay, over kept-alive connections that carry no cookies, user agent or proxy of the environment."""

    def __init__(self, url: str) -> None:
        """`url` is the relay's, without a path: `https://relay.example` or `http://127.0.0.1:8400`.

        Raises:
            UsageError: not such a URL.
        """
        if not url.startswith(("http://", "https://")) or "?" in url or "#" in url:
            raise UsageError(f"{url!r} is not a relay's URL; one looks like https://relay.example")
        self.url = url.rstrip("/")
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def bundle(self) -> bytes:
        """The bytes of the key bundle, at most 4 MiB.

        Raises:
            RelayUnavailable: none came.
        """
        reply = await self._ask("GET", BUNDLE_PATH, None, seconds=BUNDLE_SECONDS, limit=MAXIMUM_BUNDLE)
        if reply.status != 200:
            raise RelayUnavailable(f"the relay {self.url} gave no key bundle: it answered {reply.status}")
        return reply.body

    async def post(self, request: bytes) -> RelayReply:
        """What the relay brings back for an encapsulated request. It is sent once.

        Raises:
            RelayUnavailable: nothing came back.
        """
        return await self._ask("POST", REQUEST_PATH, request, seconds=ANSWER_SECONDS, limit=MAXIMUM_ANSWER)

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _ask(self, method: str, path: str, body: bytes | None, *, seconds: float, limit: int) -> RelayReply:
        headers = {} if body is None else {"Content-Type": REQUEST_MEDIA_TYPE}
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session().request(
                method, self.url + path, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return RelayReply(response.status, response.content_type, await _read(response, limit))
        except TimeoutError as error:
            raise RelayUnavailable(f"the relay {self.url} did not answer within {seconds:.0f} s") from error
        except TooLarge as error:
            raise RelayUnavailable(f"the relay {self.url} sent more than it may: {error}") from error
        except aiohttp.ClientConnectorError as error:
            raise RelayUnavailable(f"the relay {self.url} takes no connections: {error.os_error.strerror}") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise RelayUnavailable(f"the relay {self.url} broke off: {type(error).__name__}") from error

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        return self._http


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, refused as soon as it is longer than `limit` bytes."""
    pieces, size = [], 0
    async for piece in response.content.iter_chunked(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise TooLarge(f"a body over the cap of {limit} bytes")
    return b"".join(pieces)
