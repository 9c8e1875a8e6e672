"""What all connections of one relay share: limits, gateways, the bundle, and a clock that is read now and then."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import Final, Protocol

from cloister.errors import CloisterError
from cloister.hosting.http_head import RequestHead
from cloister.hosting.tls import Shown
from cloister.services.relay.bundle import BundleCache
from cloister.services.relay.client_limits import Client, Clients, Share
from cloister.services.relay.gateways import Gateways
from cloister.services.relay.refusals import Busy, TooMany
from cloister.services.relay.settings import RelaySettings

SWEEP_SECONDS: Final = 0.25  # how finely times are kept
FORGET_SECONDS: Final = 10.0  # how often clients that have gone are forgotten


class Connection(Protocol):
    """A client's, as the relay sees it."""

    def idle_until(self) -> float:
        """When it is to be closed if no request comes; never while one is under way."""

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is under way."""

    def unsent(self) -> int:
        """Bytes of answers that the client has yet to take."""

    def abort(self) -> None:
        """Close at once; the client sees that what it has is not whole."""

    def check(self, now: float) -> None:
        """Called every moment: what is awaited must come, and what is unsent must go."""


class Relay:
    """The state of one relay process. Of clients it keeps counts, under salted digests."""

    def __init__(self, settings: RelaySettings) -> None:
        """In a running loop.

        Raises:
            UsageError: a URL is none, there is no gateway, or a trusted proxy is no network.
        """
        self._loop = asyncio.get_running_loop()
        self.settings = settings
        self.now = self._loop.time()
        self.dated = b""  # the Date header
        self.closing = False
        self.connections: set[Connection] = set()
        share = Share(
            settings.client_rate, settings.client_burst, settings.client_requests, settings.client_connections
        )
        self.clients = Clients(share, settings.trusted_proxies, self.now)
        self.gateways = Gateways(settings.gateway_urls, settings.peers, connections=settings.gateway_connections)
        self.bundle = BundleCache(settings, now=self._loop.time)
        self.under_way = 0  # requests
        self.admitted = 0
        self.turned_away = 0
        self._drained = asyncio.Event()
        self._forgotten = self.now
        self._timer: asyncio.TimerHandle | None = None
        self._sweep()

    def shown(self) -> list[Shown]:
        """The certificates that are shown to the services that it calls."""
        return [*self.gateways.shown(), *self.bundle.shown()]

    def refuses(self, connection: Connection, client: Client | None) -> CloisterError | None:
        """Take a new connection in, or say why not. The longest idle one leaves where there are too many.

        Who is told why not keeps its connection for a moment, so there are at most as many again of those; the next is
        cut off.
        """
        self.connections.add(connection)
        flooded = len(self.connections) > 2 * self.settings.connections or (client is not None and client.flooding())
        if self.closing or flooded:
            connection.abort()
            return None
        if client is not None and client.crowded():
            return TooMany("too many connections of this client")
        if len(self.connections) > self.settings.connections:
            others = (other for other in self.connections if other is not connection and not other.unsent())
            oldest = min(others, key=lambda other: other.idle_until(), default=None)
            if oldest is None or oldest.idle_until() == float("inf"):
                return Busy("the relay has as many connections as it may")
            oldest.abort()  # a close would wait as long as its client likes
        return None

    def admit(self, client: Client | None, head: RequestHead | None) -> Client:
        """Count a request of `client`, or of whom a front end names in `head`; the caller gives it back to `release`.

        Raises:
            TooMany, Busy: it may not be made now.
        """
        assert client is not None
        if head is not None:
            named = self.clients.behind(head.fields.get(b"x-forwarded-for"))
            client = client if named is None else self.clients.at(named, self.now)
        seconds = client.refused_for(self.now)
        if seconds:
            self.turned_away += 1
            raise TooMany("too many requests of this client", seconds)
        if self.under_way >= self.settings.requests:
            self.turned_away += 1
            raise Busy("the relay passes on as many requests as it may")
        self.under_way += 1
        self.admitted += 1
        client.requests += 1
        return client

    def release(self, client: Client) -> None:
        """A request is over."""
        client.requests -= 1
        self.under_way -= 1
        if self.closing and not self.under_way:
            self._drained.set()

    async def close(self, grace_seconds: float) -> None:
        """Let requests under way end for `grace_seconds`, then cut them off, and close everything."""
        self.closing = True
        for connection in list(self.connections):
            connection.close_when_idle()
        try:
            async with asyncio.timeout(grace_seconds):
                while self.under_way:
                    self._drained.clear()
                    await self._drained.wait()
                while any(connection.unsent() for connection in self.connections):  # noqa: ASYNC110 - no event says so
                    await asyncio.sleep(SWEEP_SECONDS / 10)
        except TimeoutError:
            pass
        for connection in list(self.connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
        self.gateways.close()
        await self.bundle.close()

    def _sweep(self) -> None:
        self.now = self._loop.time()
        self.dated = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in list(self.connections):
            connection.check(self.now)
        self.gateways.sweep(self.now)
        if self.now - self._forgotten >= FORGET_SECONDS:
            self._forgotten = self.now
            self.clients.forget(self.now)
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
