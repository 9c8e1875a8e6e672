"""The key bundle: fetched once for everyone, kept as long as the KMS says, the same bytes for all.

A relay that fetched for each client could be made to show each client a bundle of its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from cloister.errors import CloisterError, Unavailable
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_connection import SlowPeer
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_message import Headers, Origin, header

MAXIMUM_AGE = 3600  # seconds; no word of the KMS keeps a bundle longer
_MAX_AGE = re.compile(rb"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])")


class NoBundle(Unavailable):
    """The KMS gave no bundle."""

    status = 502


class BundleTooSlow(Unavailable):
    """The KMS gave no bundle in its time."""

    status = 504


@dataclass(frozen=True, slots=True)
class _Kept:
    content_type: bytes
    body: bytes
    fetched: float
    seconds: int


class BundleCache:
    """One bundle, and at most one fetch at a time."""

    def __init__(self, url: str, *, seconds: float, limit: int, now: Callable[[], float]) -> None:
        """`seconds` for a fetch, `limit` bytes for a bundle; `now` is a monotonic clock in seconds."""
        origin, self._target = Origin.split(url)
        self._client = HttpClient(origin, connections=1)
        self._seconds = seconds
        self._limit = limit
        self._now = now
        self._kept: _Kept | None = None
        self._fetch: asyncio.Task[_Kept] | None = None

    async def response(self) -> Response:
        """The bundle as a response.

        Raises:
            NoBundle, BundleTooSlow: there is none to give now.
        """
        kept = self._kept
        age = 0 if kept is None else int(self._now() - kept.fetched)
        if kept is None or age >= kept.seconds:
            kept, age = await self._fetched(), 0
        headers = [
            (b"content-type", kept.content_type),
            (b"cache-control", b"public, max-age=%d" % kept.seconds),
            (b"age", b"%d" % age),
        ]
        return Response(200, headers, kept.body)

    async def close(self) -> None:
        """Close the connection to the KMS."""
        await self._client.close()

    async def _fetched(self) -> _Kept:
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._ask())
            self._fetch.add_done_callback(self._done)
        return await asyncio.shield(self._fetch)  # a caller that leaves does not end it for the others

    def _done(self, fetch: asyncio.Task[_Kept]) -> None:
        self._fetch = None
        if not fetch.cancelled() and fetch.exception() is None:
            self._kept = fetch.result()

    async def _ask(self) -> _Kept:
        try:
            async with self._client.exchange(b"GET", self._target, [], seconds=self._seconds) as reply:
                body = await reply.body.read(self._limit)
        except SlowPeer as error:
            raise BundleTooSlow("the KMS did not give the bundle in time") from error
        except CloisterError as error:
            raise NoBundle("the KMS gave no bundle") from error
        if reply.status != 200:
            raise NoBundle(f"the KMS answered {reply.status} when asked for the bundle")
        content_type = header(reply.headers, b"content-type") or b"application/octet-stream"
        return _Kept(content_type, body, self._now(), fresh_seconds(reply.headers))


def fresh_seconds(headers: Headers) -> int:
    """For how long a response may be kept by its Cache-Control (RFC 9111 section 5.2.2), at most `MAXIMUM_AGE`."""
    control = header(headers, b"cache-control") or b""
    if any(word in control for word in (b"no-store", b"no-cache", b"private")):
        return 0
    found = _MAX_AGE.search(control)
    return min(int(found.group(1)), MAXIMUM_AGE) if found else 0
