"""What the benches share: CPU time of another process, the unit it is told in, and processes that are ended."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

Sample = tuple[float, float]  # microseconds of CPU, and of one X25519 exchange beside it


@contextlib.contextmanager
def started(command: list[str], **options) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the context."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """CPU time of another process so far: `clock_getcpuclockid` of it, which Python does not name."""
    return time.clock_gettime((~pid << 3) | 2)


def peak_rss_mib(pid: int) -> float:
    """The most memory that a process had resident, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def on_one_processor() -> None:
    """Keep this process, and those it starts from now on, on one processor.

    What is measured and its load then take turns, and the unit is timed under the same conditions: where two
    processors are threads of one core, or share no cache, work on the other one would slow one and not the other.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def x25519_us(times: int = 400) -> float:
    """CPU time of one exchange, in microseconds."""
    own, other = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    begin = time.process_time()
    for _ in range(times):
        own.exchange(other)
    return (time.process_time() - begin) / times * 1e6


def ratio(samples: list[Sample]) -> float:
    """The median of cost over unit, each pair timed together."""
    return round(statistics.median(cost / unit for cost, unit in samples), 2)


def spread(samples: list[Sample]) -> str:
    """Cost and ratio, each with its range."""
    costs = [cost for cost, _ in samples]
    ratios = [cost / unit for cost, unit in samples]
    return (
        f"{statistics.median(costs):,.1f} us ({min(costs):,.1f} to {max(costs):,.1f}), "
        f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
    )
