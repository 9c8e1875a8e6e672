"""The gateway's routes on the lean protocol: encapsulated requests, and the four that tell of its health."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cloister.hosting.health import Health
from cloister.hosting.http_head import RequestHead
from cloister.hosting.http_inbound import InboundConnection, Incoming
from cloister.hosting.http_inbound_server import serving
from cloister.hosting.http_inbound_state import InboundLimits
from cloister.hosting.http_listener import SWEEP_SECONDS
from cloister.hosting.loopback import GRACE_SECONDS, announce, port_of
from cloister.hosting.problem import MEDIA_TYPE, Problem, encode, problem
from cloister.hosting.tls import TlsServer
from cloister.ohttp import chunked, encapsulation
from cloister.ohttp.records import TICK_SECONDS
from cloister.services.gateway.buffers import Buffers
from cloister.services.gateway.chunked_exchange import ChunkedExchange
from cloister.services.gateway.engines import Engines, QueueLimits, Supply
from cloister.services.gateway.exchange import Receipts, Shared
from cloister.services.gateway.keys import KeyRing, KeySource
from cloister.services.gateway.replay import ReplayTable
from cloister.services.gateway.request_memory import RequestMemory
from cloister.services.gateway.shared_counts import SharedMetrics
from cloister.services.gateway.turn import Turn
from cloister.services.gateway.whole_exchange import STEPS, WholeExchange

PATHS = (b"/gateway", b"/")
WHOLE = encapsulation.REQUEST_MEDIA_TYPE.encode()
CHUNKED = chunked.REQUEST_MEDIA_TYPE.encode()


@dataclass(frozen=True, slots=True)
class DataPlaneLimits:
    """Caps and times of the gateway's data plane."""

    memory_bytes: int = 512 * 1024 * 1024  # of all encapsulated requests that are held at a time
    patience_seconds: float = 10  # that a large one may take to arrive before it gives way where memory is short
    window_seconds: int = 300  # by which a request's date may differ from the time here
    replay_entries: int = 1_000_000  # about 48 bytes each
    tick_seconds: float = TICK_SECONDS  # between two records of an answer under strict privacy
    http: InboundLimits = field(default_factory=InboundLimits)
    queue: QueueLimits = field(default_factory=QueueLimits)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gateway is put together from."""

    keys: KeySource
    engines: Supply
    receipts: Receipts
    now: Callable[[], float]  # seconds since 1970


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """What all workers of a node share."""

    replays: ReplayTable
    metrics: SharedMetrics


def build_gateway(
    keys: KeySource,
    engines: Supply,
    receipts: Receipts,
    *,
    now: Callable[[], float],
    limits: DataPlaneLimits,
) -> Gateway:
    """A gateway that is ready to be served; `now` is seconds since 1970, and dates before it are refused."""
    table = ReplayTable(
        window_seconds=limits.window_seconds, capacity=limits.replay_entries, started=int(now()), alone=True
    )
    parts = Parts(keys, engines, receipts, now)
    return gateway_of(parts, NodeMemory(table, SharedMetrics()), limits)


def gateway_of(parts: Parts, memory: NodeMemory, limits: DataPlaneLimits) -> Gateway:
    """One worker's gateway over the node's memory."""
    shared = Shared(
        keys=KeyRing(parts.keys, now=parts.now),
        replays=memory.replays,
        engines=Engines(parts.engines, limits.queue),
        receipts=parts.receipts,
        buffers=Buffers(),
        now=parts.now,
        observe=lambda status, seconds: memory.metrics.observe("/gateway", status, seconds),
        memory=RequestMemory(limits.memory_bytes, patience_seconds=limits.patience_seconds),
        turn=Turn(STEPS),
        tick_seconds=limits.tick_seconds,
    )
    return Gateway(shared, limits, Health("gateway", memory.metrics, missing=parts.engines.missing))


async def serve_gateway(
    gateway: Gateway,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    ready: Path | int | None = None,
    tls: TlsServer | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Serve on `listener` until `stop` is set, then let requests in flight end within `grace_seconds`."""
    async with (
        gateway.running(),
        serving(gateway, listener, limits=gateway.limits.http, grace_seconds=grace_seconds, tls=tls),
    ):
        announce(port_of(listener), ready)
        await stop.wait()


class Gateway:
    """Begins the exchange that each request asks for; counts answers by status, and keeps nothing else of them."""

    def __init__(self, shared: Shared, limits: DataPlaneLimits, health: Health) -> None:
        self.limits = limits
        self._shared = shared
        self.health = health

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within the context, what waits or works for too long is ended."""
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeping.cancel()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._shared.engines.sweep(loop.time())

    def begin(self, head: RequestHead, connection: InboundConnection) -> Incoming | None:
        """The exchange of one request; what is none is answered at once."""
        if head.target in PATHS and head.method == b"POST":
            if head.content_type == WHOLE:
                return WholeExchange(self._shared, connection, head)
            if head.content_type == CHUNKED:
                return ChunkedExchange(self._shared, connection)
            wrong = problem(415, f"an encapsulated request is {WHOLE.decode()} or {CHUNKED.decode()}")
            self._shared.observe(415, 0)
            return _refuse(connection, wrong)
        target = head.target.decode("latin-1")
        if target in Health.PATHS and head.method in (b"GET", b"HEAD"):
            status, content_type, body = self.health.answer(target)
            fields = b"content-type: %b\r\n" % content_type.encode()
            connection.respond(status, fields, body, bodiless=head.method == b"HEAD")
            return None
        if head.target in PATHS or target in Health.PATHS:
            return _refuse(connection, problem(405, f"{target} does not take this method"))
        return _refuse(connection, problem(404, "a gateway has POST /gateway and its health routes"))


def _refuse(connection: InboundConnection, value: Problem) -> Incoming | None:
    connection.respond(value.status, b"content-type: %b\r\n" % MEDIA_TYPE.encode(), encode(value))
    return None
