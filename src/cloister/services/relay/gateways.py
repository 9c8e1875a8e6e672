"""The gateways: kept connections to each, turns, and a short break for one that takes none or does not answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from cloister.errors import UsageError
from cloister.hosting.http_message import Origin
from cloister.hosting.tls import PeerTls, Shown, peer_tls
from cloister.services.relay.breaker import LONGEST_BREAK_SECONDS, Breaker
from cloister.services.relay.gateway_connection import Asker, GatewayConnection
from cloister.services.relay.refusals import Busy, NoGateway

CONNECT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 30.0  # shorter than gateways keep a connection, so that a request seldom meets a closing one
SILENT_EXCHANGES: Final = 3  # in a row: a whole request that met no byte of an answer may be that request's doing


class Gateway:
    """One gateway's connections."""

    def __init__(self, url: str, peers: PeerTls | None, *, connections: int) -> None:
        self.origin, self._path = Origin.split(url)
        self.shown: Shown | None = peer_tls(url, peers)
        self.idle: list[GatewayConnection] = []
        self.open: set[GatewayConnection] = set()
        self._connections = connections
        self._opening = 0
        self._taking = Breaker(1)  # connections
        self._answering = Breaker(SILENT_EXCHANGES)  # requests on them
        self.suspected = False  # whether the last of them that ended fell silent: else the breaker need not be asked
        self._heads: dict[bytes, bytes] = {}

    def request_head(self, media_type: bytes, length: int | None) -> bytes:
        """The head of a request: all that a gateway is told beside the sealed bytes."""
        start = self._heads.get(media_type)
        if start is None:
            host = self.origin.authority.encode()
            start = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: %b\r\n" % (self._path, host, media_type)
            self._heads[media_type] = start
        if length is None:
            return start + b"transfer-encoding: chunked\r\n\r\n"
        return b"%bcontent-length: %d\r\n\r\n" % (start, length)

    def has_room(self) -> bool:
        """Whether one more connection may be opened."""
        return len(self.open) + self._opening < self._connections

    def is_broken(self, now: float) -> bool:
        """Whether it took no connection a moment ago, or answered nothing, and is not to be asked yet."""
        return self._taking.is_open(now) or self.is_silent(now)

    def is_silent(self, now: float) -> bool:
        """Whether it took requests and answered nothing, and is not to be asked yet, on an open connection either."""
        return self._answering.is_open(now)

    def is_asked(self, now: float) -> None:
        """A request goes to it; if it was silent, no other for a moment."""
        self._answering.trying(now, LONGEST_BREAK_SECONDS)

    def fell_silent(self, now: float) -> None:
        """A whole request got no byte of an answer: the connection ended, or the time did."""
        self.suspected = True
        self._answering.failed(now)

    def answers(self) -> None:
        """The first bytes of an answer came."""
        self.suspected = False
        self._answering.passed()

    async def connect(self) -> GatewayConnection | None:
        """A new connection; `None` if the gateway takes none, which breaks its circuit for a moment."""
        loop = asyncio.get_running_loop()
        self._taking.trying(loop.time(), CONNECT_SECONDS)
        self._opening += 1
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: GatewayConnection(self),
                    self.origin.host,
                    self.origin.port,
                    ssl=None if self.shown is None else self.shown.context,
                )
        except (OSError, TimeoutError):
            self._taking.failed(loop.time())
            return None
        except asyncio.CancelledError:
            self._taking.gave_up(loop.time())
            raise
        finally:
            self._opening -= 1
        self._taking.passed()
        return connection


class Gateways:
    """All of them, asked in turn."""

    def __init__(self, urls: Sequence[str], peers: PeerTls | None, *, connections: int) -> None:
        """`connections` to each at a time.

        Raises:
            UsageError: there is none, or a URL is not one that services speak to each other at.
        """
        if not urls:
            raise UsageError("a relay needs at least one gateway")
        self._gateways = [Gateway(url, peers, connections=connections) for url in urls]
        self._next = self._gateways[0]
        self._turns: Iterator[int] = itertools.cycle(range(len(urls)))
        self._opening: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Gateway]:
        """Each of them."""
        return iter(self._gateways)

    def shown(self) -> list[Shown]:
        """The certificates that are shown to them."""
        return [gateway.shown for gateway in self._gateways if gateway.shown is not None]

    def kept(self, now: float) -> GatewayConnection | None:
        """An idle connection to the gateway whose turn it is; `None` if one is to be opened."""
        for _ in self._gateways:
            self._next = gateway = self._gateways[next(self._turns)]
            if gateway.idle and not (gateway.suspected and gateway.is_silent(now)):
                if gateway.suspected:
                    gateway.is_asked(now)
                return gateway.idle.pop()
            if gateway.has_room() and not gateway.is_broken(now):
                break
        return None

    def open(self, asker: Asker) -> asyncio.Task[None]:
        """Open a connection for `asker` and give it to it, or tell it that there is none; can be cancelled."""
        task = asyncio.get_running_loop().create_task(self._open(self._next, asker))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return task

    async def _open(self, first: Gateway, asker: Asker) -> None:
        """A new connection for `asker`, to `first` or whichever takes one."""
        others = [gateway for gateway in self._gateways if gateway is not first]
        full = False
        for gateway in (first, *others):
            if gateway.is_broken(asker.now()):
                continue
            if not gateway.has_room():
                full = True
                continue
            gateway.is_asked(asker.now())
            connection = await gateway.connect()
            if connection is not None:
                asker.begins(connection)
                return
        asker.fail(
            Busy("the gateways have all their connections in use")
            if full
            else NoGateway("no gateway takes connections, or answers on them")
        )

    def sweep(self, now: float) -> None:
        """Close what was not used for long."""
        for gateway in self._gateways:
            while gateway.idle and now - gateway.idle[0].idle_since > IDLE_SECONDS:
                gateway.idle.pop(0).close()

    def close(self) -> None:
        """Close every connection, at once."""
        for task in self._opening:
            task.cancel()
        for gateway in self._gateways:
            for connection in list(gateway.open):
                connection.abort()
