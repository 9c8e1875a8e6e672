"""The gateway's routes on the lean protocol: encapsulated requests, and the four that tell of its health."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from cloister.errors import CloisterError, Unavailable, UsageError
from cloister.formats.contract import Endpoint
from cloister.hosting.health import Health, Metrics
from cloister.hosting.http_exchange import Limits, Request, Response, problem_response
from cloister.hosting.http_message import header
from cloister.hosting.http_server import serve_http
from cloister.hosting.problem import problem, problem_of
from cloister.hosting.tls import TlsServer
from cloister.ohttp.encapsulation import REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE
from cloister.services.gateway.engine import EngineConnection
from cloister.services.gateway.exchange import Exchanges, SealReceipt
from cloister.services.gateway.inside import Endpoints
from cloister.services.gateway.keys import KeyRing, KeySource
from cloister.services.gateway.replay import ReplayTable

PATHS = ("/", "/gateway")
_SEALED = [(b"content-type", RESPONSE_MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]


@dataclass(frozen=True, slots=True)
class DataPlaneLimits:
    """Caps and times of the gateway's data plane."""

    request_bytes: int = 32 * 1024 * 1024  # of an encapsulated request
    memory_bytes: int = 512 * 1024 * 1024  # of all encapsulated requests that are held at a time
    connections: int = 1024
    engine_seconds: float = 600
    window_seconds: int = 300  # by which a request's date may differ from the time here
    replay_entries: int = 1_000_000  # about 200 bytes each


class WrongMediaType(UsageError):
    """Not an encapsulated request."""

    status = 415


class Busy(Unavailable):
    """The gateway holds as many requests as it may."""


def build_gateway(
    keys: KeySource,
    engine: EngineConnection,
    endpoints: Iterable[Endpoint],
    seal_receipt: SealReceipt,
    *,
    now: Callable[[], float],
    limits: DataPlaneLimits,
) -> Gateway:
    """A gateway that is ready to be served; `now` is seconds since 1970, and dates before it are refused."""
    replays = ReplayTable(window_seconds=limits.window_seconds, capacity=limits.replay_entries, started=int(now()))
    exchanges = Exchanges(
        keys=KeyRing(keys, now=now),
        replays=replays,
        endpoints=Endpoints(endpoints),
        engine=engine,
        seal_receipt=seal_receipt,
        engine_seconds=limits.engine_seconds,
        now=now,
    )
    return Gateway(exchanges, limits, missing=engine.missing)


async def serve_gateway(
    gateway: Gateway,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    ready: Path | int | None = None,
    tls: TlsServer | None = None,
) -> None:
    """Serve on `listener` until `stop` is set."""
    limits = Limits(body_bytes=gateway.limits.request_bytes, connections=gateway.limits.connections)
    await serve_http(gateway.answer, listener, stop, limits=limits, ready=ready, tls=tls)


class Gateway:
    """Answers HTTP requests; counts them by route and status, and keeps nothing else of them."""

    def __init__(self, exchanges: Exchanges, limits: DataPlaneLimits, *, missing: Callable[[], Sequence[str]]) -> None:
        self.limits = limits
        self.metrics = Metrics("gateway")
        self._exchanges = exchanges
        self._health = Health("gateway", self.metrics, missing=missing)
        self._held = 0  # bytes

    async def answer(self, request: Request) -> Response:
        """The answer to one request."""
        if request.target in PATHS and request.method == "POST":
            return await self._counted(request)
        if request.target in Health.PATHS and request.method in ("GET", "HEAD"):
            status, content_type, body = self._health.answer(request.target)
            return Response(status, [(b"content-type", content_type.encode())], body)
        if request.target in (*PATHS, *Health.PATHS):
            return problem_response(problem(405, f"{request.target} does not take {request.method}"))
        return problem_response(problem(404, "a gateway has POST /gateway and its health routes"))

    async def _counted(self, request: Request) -> Response:
        started = perf_counter()
        try:
            response = Response(200, _SEALED, await self._sealed(request))
        except CloisterError as error:
            response = problem_response(problem_of(error))
        self.metrics.observe("/gateway", response.status, perf_counter() - started)
        return response

    async def _sealed(self, request: Request) -> bytes:
        if header(request.headers, b"content-type") != REQUEST_MEDIA_TYPE.encode():
            raise WrongMediaType(f"an encapsulated request is {REQUEST_MEDIA_TYPE}")
        length = request.body.length
        with self._holding(self.limits.request_bytes if length is None else length):
            return await self._exchanges.answer(await request.body.read(self.limits.request_bytes))

    @contextlib.contextmanager
    def _holding(self, size: int) -> Iterator[None]:
        """Count `size` bytes as held. The server refuses what is announced to be over the cap before it comes here."""
        if self._held + size > self.limits.memory_bytes:
            raise Busy("the gateway holds as many requests as it may")
        self._held += size
        try:
            yield
        finally:
            self._held -= size
