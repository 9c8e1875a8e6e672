"""The gateways: kept connections to each, turns, and a short break for one that takes none or does not answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from cloister.errors import Unavailable, UsageError
from cloister.hosting.breaker import Breaker
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_message import Origin
from cloister.hosting.tls import PeerTls, Shown, peer_tls
from cloister.services.relay.gateway_connection import Asker, GatewayConnection
from cloister.services.relay.refusals import Busy, NoGateway

CONNECT_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 5.0  # for a connection and the head of an answer
IDLE_SECONDS: Final = 30.0  # shorter than gateways keep a connection, so that a request seldom meets a closing one
EMPTY: Final = (b"content-type", b"message/ohttp-req")  # with no body: what a gateway refuses with 400, at once
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
        self.suspected = False  # whether the last of them that ended fell silent: else the breaker need not be told
        self.silent = False  # not to be asked, on an open connection either, until it has answered `look`
        self._looking: asyncio.Task[None] | None = None
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
        return self.silent or self._taking.is_open(now)

    def fell_silent(self, now: float) -> None:
        """A whole request got no byte of an answer: the connection ended, or the time did."""
        self.suspected = True
        self._answering.failed(now)
        self.silent = self._answering.is_open(now)

    def answers(self) -> None:
        """The first bytes of an answer came."""
        self.suspected = self.silent = False
        self._answering.passed()

    def look(self, now: float) -> None:
        """Find out whether it answers again, if it was silent and its break is over.

        The relay's own request tries, and no client's: whoever sent that could leave, send no more of it, or ask for
        what takes long, and the others would wait.
        """
        if self.silent and self._looking is None and not self._answering.is_open(now):
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._looked)

    def close(self) -> None:
        """Close every connection, at once."""
        if self._looking is not None:
            self._looking.cancel()
        for connection in list(self.open):
            connection.abort()

    async def _look(self) -> None:
        """Ask it what needs no key and no engine."""
        now = asyncio.get_running_loop().time
        client = HttpClient(self.origin, connections=1, tls=None if self.shown is None else self.shown.context)
        try:
            async with client.exchange(b"POST", self._path, [EMPTY], seconds=LOOK_SECONDS):
                self.silent = False
                self._answering.let_through(now())  # and it has to answer a client's to be trusted with three again
        except Unavailable:
            self.fell_silent(now())
        finally:
            await client.close()

    def _looked(self, _: asyncio.Task[None]) -> None:
        self._looking = None

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
            self._taking.let_through(loop.time())
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
            if gateway.idle and not gateway.silent:
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
        """Close what was not used for long, and look whether silent ones answer again."""
        for gateway in self._gateways:
            gateway.look(now)
            while gateway.idle and now - gateway.idle[0].idle_since > IDLE_SECONDS:
                gateway.idle.pop(0).close()

    def close(self) -> None:
        """Close every connection, at once."""
        for task in self._opening:
            task.cancel()
        for gateway in self._gateways:
            gateway.close()
