"""What the ledger's benches share: a ledger and its witness as processes, and what others do beside them.

The database is a parameter: a folder of the ledger's (SQLite), or a server.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measured import cpu_seconds, started
from postgres import PostgresServer

from cloister.crypto.signing import SigningKey
from cloister.formats.checkpoint import COSIGNATURE_V1, ED25519, format_vkey
from cloister.formats.constitution import Log, Witness
from cloister.storage.key_file import write_signing_key

START_SECONDS = 60.0
UNLIMITED = 10**12  # bytes a second: what is measured is the ledger, not its allowance


@dataclass(frozen=True, slots=True)
class RunningLedger:
    """A ledger and its one witness, which are up."""

    url: str
    log: Log
    witness: Witness
    pids: tuple[int, ...]
    server: PostgresServer | None

    def cpu(self) -> float:
        """Seconds of CPU that both have used, and the database's server."""
        return sum((cpu_seconds(pid) for pid in self.pids), self.server.cpu() if self.server else 0.0)


@contextlib.contextmanager
def running_ledger(folder: Path, server: PostgresServer | None = None) -> Iterator[RunningLedger]:
    """A ledger and a witness under `folder`, the ledger on SQLite or the `server`."""
    keys = {name: SigningKey.generate() for name in ("ledger", "witness")}
    for name, key in keys.items():
        write_signing_key(folder / f"{name}.seed", key)
    log = Log(origin="log.bench/cloister", key=keys["ledger"].public)
    witness = Witness(name="witness.bench", key=keys["witness"].public)
    watched = format_vkey(log.origin, log.key, kind=ED25519)
    with service(folder, "witness", f'name = "{witness.name}"\nlogs = ["{watched}"]') as (witness_url, witnessing):
        vkey = format_vkey(witness.name, witness.key, kind=COSIGNATURE_V1)
        lines = [f'origin = "{log.origin}"', "quorum = 1", f"write_bytes_per_second = {UNLIMITED}"]
        lines += [server.settings] if server else []
        lines += ["[[witnesses]]", f'vkey = "{vkey}"', f'url = "{witness_url}"']
        with service(folder, "ledger", "\n".join(lines)) as (url, pid):
            yield RunningLedger(url, log, witness, (pid, witnessing), server)


@contextlib.contextmanager
def service(folder: Path, name: str, more: str) -> Iterator[tuple[str, int]]:
    """A service with these settings, ready: its URL and process; ended with the context."""
    ready, config = folder / f"{name}.ready", folder / f"{name}.toml"
    lines = ["port = 0", f'folder = "{folder / name}"', f'key = "{folder / name}.seed"', f'ready = "{ready}"', more]
    config.write_text("\n".join(lines))
    command = [sys.executable, "-m", "cloister", "service", name, "--config", str(config)]
    with started(command, stdin=subprocess.DEVNULL) as process:
        end = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the {name} did not start")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{int(ready.read_text())}", process.pid


def synchronised_ms(folder: Path, times: int = 9) -> float:
    """The median time of a write of 4 KiB that is on disk when it returns: what durable steps cost here and now."""
    taken = []
    with (folder / "synchronised").open("wb", buffering=0) as file:
        for _ in range(times):
            begin = time.perf_counter()
            os.pwrite(file.fileno(), os.urandom(4096), 0)
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


@dataclass(frozen=True, slots=True)
class Busy:
    """What the machine did up to a moment: seconds of all processors, of them not idle."""

    at: float
    busy: float

    @classmethod
    def now(cls) -> Busy:
        """As the kernel counts since the start."""
        ticks = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        waiting = ticks[3] + ticks[4]  # idle, and idle with a disk at work
        return cls(time.monotonic(), (sum(ticks) - waiting) / os.sysconf("SC_CLK_TCK"))


def of_others(before: Busy, after: Busy, ours: float) -> float:
    """The share of the machine that others took between two moments, in which our processes used `ours` seconds."""
    whole = (after.at - before.at) * (os.cpu_count() or 1)
    return max(0.0, (after.busy - before.busy - ours) / whole)
