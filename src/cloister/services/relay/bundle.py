"""The key bundle: fetched once for everyone, kept as long as the KMS says, the same bytes for all.

A relay that fetched for each client could be made to show each client a bundle of its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from cloister.errors import CloisterError, Unavailable
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_connection import SlowPeer
from cloister.hosting.http_message import Headers, Origin, header, status_line
from cloister.hosting.tls import PeerTls, Shown, peer_tls
from cloister.peers.failover import Failover
from cloister.services.relay.settings import RelaySettings

MAXIMUM_AGE = 3600  # seconds; no word of the KMS keeps a bundle longer
_MAX_AGE = re.compile(rb"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])")


class NoBundle(Unavailable):
    """The KMS gave no bundle."""

    status = 502


class BundleTooSlow(Unavailable):
    """The KMS gave no bundle in its time."""

    status = 504


@dataclass(frozen=True, slots=True)
class Bundle:
    """The bytes that everyone gets."""

    content_type: bytes
    body: bytes
    fetched: float
    seconds: int  # for which it may be kept

    def head(self, more: bytes, *, age: int) -> bytes:
        """The head of the answer; `more` are whole lines."""
        return b"%bcontent-type: %b\r\ncache-control: public, max-age=%d\r\nage: %d\r\n%bcontent-length: %d\r\n\r\n" % (
            status_line(200),
            self.content_type,
            self.seconds,
            age,
            more,
            len(self.body),
        )


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of the KMS."""

    client: HttpClient
    target: bytes
    shown: Shown | None

    @classmethod
    def at(cls, url: str, peers: PeerTls | None) -> Self:
        """The one whose bundle is at `url`.

        Raises:
            UsageError: it is not a URL that services speak to each other at.
        """
        origin, target = Origin.split(url)
        shown = peer_tls(url, peers)
        return cls(HttpClient(origin, connections=1, tls=None if shown is None else shown.context), target, shown)


class BundleCache:
    """One bundle, and at most one fetch at a time."""

    def __init__(self, settings: RelaySettings, *, now: Callable[[], float]) -> None:
        """`now` is a monotonic clock in seconds."""
        self._instances = [Instance.at(url, settings.peers) for url in settings.bundle_urls]
        self._failover = Failover(self._instances)
        self._settings = settings
        self._now = now
        self._kept: Bundle | None = None
        self._fetch: asyncio.Task[Bundle] | None = None

    def fresh(self) -> Bundle | None:
        """The bundle that is kept, if it may still be given."""
        kept = self._kept
        return None if kept is None or self.age(kept) >= kept.seconds else kept

    def age(self, bundle: Bundle) -> int:
        """Whole seconds since it was fetched."""
        return int(self._now() - bundle.fetched)

    async def fetched(self) -> Bundle:
        """The bundle from the KMS.

        Raises:
            NoBundle, BundleTooSlow: there is none to give now.
        """
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._ask())
            self._fetch.add_done_callback(self._done)
        return await asyncio.shield(self._fetch)  # a caller that leaves does not end it for the others

    async def close(self) -> None:
        """Close the connections to the KMS."""
        for instance in self._instances:
            await instance.client.close()

    def shown(self) -> list[Shown]:
        """The certificates that are shown to it."""
        return [instance.shown for instance in self._instances if instance.shown is not None]

    def _done(self, fetch: asyncio.Task[Bundle]) -> None:
        self._fetch = None
        if not fetch.cancelled() and fetch.exception() is None:
            self._kept = fetch.result()

    async def _ask(self) -> Bundle:
        return await self._failover.ask(self._bundle_of)

    async def _bundle_of(self, instance: Instance) -> Bundle:
        client, seconds = instance.client, self._settings.bundle_seconds
        try:
            async with client.exchange(b"GET", instance.target, [], seconds=seconds) as reply:
                body = await reply.body.read(self._settings.bundle_bytes)
        except SlowPeer as error:
            raise BundleTooSlow("the KMS did not give the bundle in time") from error
        except CloisterError as error:
            raise NoBundle("the KMS gave no bundle") from error
        if reply.status != 200:
            raise NoBundle(f"the KMS answered {reply.status} when asked for the bundle")
        content_type = header(reply.headers, b"content-type") or b"application/octet-stream"
        return Bundle(content_type, body, self._now(), fresh_seconds(reply.headers))


def fresh_seconds(headers: Headers) -> int:
    """For how long a response may be kept by its Cache-Control (RFC 9111 section 5.2.2), at most `MAXIMUM_AGE`."""
    control = header(headers, b"cache-control") or b""
    if any(word in control for word in (b"no-store", b"no-cache", b"private")):
        return 0
    found = _MAX_AGE.search(control)
    return min(int(found.group(1)), MAXIMUM_AGE) if found else 0
