"""What all workers of a node counted, added up: each counts in its own part of memory that they share."""

from __future__ import annotations

import bisect
import mmap
import os
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from cloister.hosting.health import Metrics

STATUSES: Final = (200, 400, 404, 405, 408, 413, 415, 429, 431, 499, 500, 502, 503, 504, 505)
OTHER: Final = len(STATUSES)
_BOUNDS: Final = tuple(Histogram.DEFAULT_BUCKETS[:-1])  # seconds; one more has no bound
_FIRST_BUCKET: Final = OTHER + 1
_SUM: Final = _FIRST_BUCKET + len(_BOUNDS) + 1  # microseconds
_FIELDS: Final = _SUM + 1
_PLACE: Final = {status: place for place, status in enumerate(STATUSES)}
_ROUTE: Final = "/gateway"


class SharedMetrics(Metrics):
    """Counts answers by status and time; the metrics that it shows are those of all workers."""

    def __init__(self, *, workers: int = 1, worker: int = 0, descriptor: int | None = None) -> None:
        """Make the memory, or take the one that another process of this node made."""
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.descriptor = os.memfd_create("counts", os.MFD_CLOEXEC) if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, workers * _FIELDS * 8)
        self._workers = workers
        self._all = memoryview(mmap.mmap(self.descriptor, 0)).cast("Q")
        self._own = self._all[worker * _FIELDS : (worker + 1) * _FIELDS]

    def observe(self, route: str, status: int, seconds: float) -> None:  # noqa: ARG002 - there is one
        """Count one answer."""
        own = self._own
        own[_PLACE.get(status, OTHER)] += 1
        own[_FIRST_BUCKET + bisect.bisect_left(_BOUNDS, seconds)] += 1
        own[_SUM] += int(seconds * 1e6)

    def collect(self) -> Iterator[Metric]:
        """All workers' counts, for the registry."""
        fields = [sum(self._all[at : self._workers * _FIELDS : _FIELDS]) for at in range(_FIELDS)]
        requests = CounterMetricFamily("cloister_gateway_requests", "Requests answered.", labels=["route", "status"])
        for status, place in (*_PLACE.items(), ("other", OTHER)):
            if fields[place]:
                requests.add_metric([_ROUTE, str(status)], fields[place])
        yield requests
        seconds = HistogramMetricFamily("cloister_gateway_request_seconds", "Time to answer.", labels=["route"])
        buckets, count = [], 0
        for bound, found in zip((*map(str, _BOUNDS), "+Inf"), fields[_FIRST_BUCKET:_SUM], strict=True):
            count += found
            buckets.append((bound, count))
        seconds.add_metric([_ROUTE], buckets, fields[_SUM] / 1e6)
        yield seconds
