"""`/health`, `/ready`, `/metrics` and `/version`, as plain answers that Starlette and the lean servers both send."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import metadata
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from cloister.errors import CloisterError

Check = Callable[[], Awaitable[object]]  # raises a `CloisterError` where something cannot be had


class Answer(NamedTuple):
    """What one of the four routes says."""

    status: int
    content_type: str
    body: bytes


class Metrics:
    """A service's own registry, so that two services in one process do not mix; `requests` and `seconds` are ready.

    Labels hold routes and statuses only: never a path as sent, a header or an address.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            f"cloister_{service}_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            f"cloister_{service}_request_seconds", "Time to answer.", ["route"], registry=self.registry
        )

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one request to a route of the service's own table."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)


class Health:
    """Answers the four routes of one service."""

    PATHS = ("/health", "/ready", "/metrics", "/version")

    def __init__(
        self,
        service: str,
        metrics: Metrics,
        *,
        missing: Callable[[], Sequence[str]],
        checks: Sequence[Check] = (),
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare the answers.

        Args:
            service: its name.
            metrics: its own.
            missing: says in words what the service still lacks before it can serve; empty when it is ready.
            checks: what is tried, one after another, each time that readiness is asked for by `asked`.
            about: what `/version` says beside the versions, as the measurement of what runs.
        """
        self.metrics = metrics
        self._service = service
        self._missing = missing
        self._checks = tuple(checks)
        self.about = dict(about or {})

    async def asked(self, path: str) -> Answer:
        """The answer to GET `path`, one of `PATHS`; readiness is tried."""
        lacks = await self._found_lacking() if path == "/ready" else []
        return self.answer(path, lacks)

    def answer(self, path: str, also_missing: Sequence[str] = ()) -> Answer:
        """The answer to GET `path`, one of `PATHS`, from what is known."""
        if path == "/metrics":
            return Answer(200, CONTENT_TYPE_LATEST, generate_latest(self.metrics.registry))
        if path == "/ready":
            lacks = [*self._missing(), *also_missing]
            return _json(503 if lacks else 200, {"ready": not lacks, "missing": lacks})
        if path == "/version":
            version = {"service": self._service, "version": metadata.version("cloister")}
            return _json(200, version | {"python": platform.python_version()} | self.about)
        return _json(200, {"service": self._service, "alive": True})

    async def _found_lacking(self) -> list[str]:
        lacks = []
        for check in self._checks:
            try:
                await check()
            except CloisterError as error:
                lacks.append(str(error))
        return lacks


def _json(status: int, value: object) -> Answer:
    return Answer(status, "application/json", msgspec.json.encode(value))
