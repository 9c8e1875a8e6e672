"""`/health`, `/ready`, `/metrics` and `/version`, as plain answers that Starlette and the lean servers both send."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


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

    def __init__(self, service: str, metrics: Metrics, *, missing: Callable[[], Sequence[str]]) -> None:
        """`missing` says in words what the service still lacks before it can serve; empty when it is ready."""
        self._service = service
        self._metrics = metrics
        self._missing = missing

    def answer(self, path: str) -> Answer:
        """The answer to GET `path`, one of `PATHS`."""
        if path == "/metrics":
            return Answer(200, CONTENT_TYPE_LATEST, generate_latest(self._metrics.registry))
        if path == "/ready":
            lacks = list(self._missing())
            return _json(503 if lacks else 200, {"ready": not lacks, "missing": lacks})
        if path == "/version":
            version = {"service": self._service, "version": metadata.version("cloister")}
            return _json(200, version | {"python": platform.python_version()})
        return _json(200, {"service": self._service, "alive": True})


def _json(status: int, value: object) -> Answer:
    return Answer(status, "application/json", msgspec.json.encode(value))
