"""Entries a second through a real ledger, beside the raw rate of signature checks of such entries in the same run.

    PYTHONPATH=src python bench/ledger.py [--postgresql] [--rounds 7] [--seconds 2] [--at-once 8] [--batch 512]

On SQLite, or on a PostgreSQL server of its own; about two minutes. A ledger and a witness are processes of their own;
this one is the clients, each of whom sends so many entries by one request. Every entry is signed, new, and about 300
bytes; each is answered under a checkpoint that the witness cosigned, and after the last round every answer is checked:
its path, the log's signature, the witness's. An entry counts when its answer is here.

Beside it: `single`, entries a second where 64 clients send one by a request; `append`, how long one takes on a ledger
that does nothing else; `append_busy`, how long on one that is busy with batches.

Three raw rates are taken beside each round: `raw`, Ed25519 verifications of these entries a second, parsed beforehand,
in a process for each processor; `raw_one`, in one process; `opened`, all that a check of an entry is, by as many as
`raw`. Where others share the machine all rates fall, but not evenly: the ledger's several processes get more turns than
the raw rate's. So the ratio is told in CPU time too, which turns do not touch: `cpu_ratio` is the CPU time of a raw
check over all that ledger, witness and clients used for an entry. What others took of the machine is shown, and
what a write costs that is on disk when it returns, since an append waits for two of them, one of the ledger's and one
of the witness's. The last line is JSON, with the goals beside the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import aiohttp
import uvloop
from ledgers import Busy, RunningLedger, of_others, running_ledger, synchronised_ms
from postgres import postgres_server
from signatures import PROCESSORS, Rate, RawRate, entries

from cloister.crypto.merkle import check_inclusion, leaf_hash
from cloister.formats.ledger_batch import RefusedEntry, encode_batch, parse_batch_answers
from cloister.formats.ledger_messages import Appended, parse_appended
from cloister.ledger.checkpoints import VerifiedCheckpoint, examine_checkpoint

CBOR = {"content-type": "application/cbor"}
KEPT_ALIVE_SECONDS = 2.0  # less than the ledger keeps an idle connection
SINGLE_CLIENTS, SINGLE_SECONDS = 64, 0.5
ALONE_SECONDS = 0.5
BUSY_PAUSE_SECONDS = 0.05  # between the appends of one entry beside batches


@dataclass(frozen=True, slots=True)
class Told:
    """A round of load: entries a second, CPU microseconds of everyone for one, the share of the machine of others."""

    per_second: float
    cpu_us: float
    others: float


@dataclass
class Load:
    """Clients, and the answers that they got."""

    ledger: RunningLedger
    session: aiohttp.ClientSession
    answers: list[tuple[list[bytes], bytes]] = field(default_factory=list)  # the entries of a request, the answer

    async def send(self, sent: list[bytes], *, batch: bool) -> int:
        """One request."""
        path, body = ("batches", encode_batch(sent)) if batch else ("entries", sent[0])
        async with self.session.post(f"{self.ledger.url}/{path}", data=body, headers=CBOR) as answer:
            found = await answer.read()
            if answer.status != 200:
                raise SystemExit(f"the ledger refused: {found[:300]!r}")
        self.answers.append((sent, found))
        return len(sent)

    async def client(self, left: Iterator[bytes], size: int, until: float) -> int:
        """One client that sends request after request; the entries that were answered."""
        done = 0
        while time.monotonic() < until:
            if not (sent := [*islice(left, size)]):
                raise SystemExit("too few entries were prepared: raise --prepared")
            done += await self.send(sent, batch=size > 1)
        return done

    async def rate(self, clients: int, left: Iterator[bytes], size: int, seconds: float) -> Told:
        """Several clients at once."""
        before, cpu, begin = Busy.now(), self._cpu(), time.monotonic()
        done = sum(await asyncio.gather(*(self.client(left, size, begin + seconds) for _ in range(clients))))
        took, spent = time.monotonic() - begin, self._cpu() - cpu
        return Told(done / took, spent / done * 1e6, of_others(before, Busy.now(), spent))

    async def latencies(self, left: Iterator[bytes], seconds: float, *, pause: float = 0.0) -> list[float]:
        """Milliseconds of appends of one entry, one after the other."""
        taken, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            await self.send([next(left)], batch=False)
            taken.append((time.perf_counter() - begin) * 1000)
            await asyncio.sleep(pause)
        return taken

    def check(self) -> int:
        """Hold every answer against what it must prove; how many there are."""
        notes: dict[bytes, VerifiedCheckpoint] = {}
        indices = set()
        for one, appended in self._each():
            if isinstance(appended, RefusedEntry):
                raise SystemExit(f"an entry was refused: {appended.detail}")
            if appended.checkpoint not in notes:
                notes[appended.checkpoint] = examine_checkpoint(
                    appended.checkpoint, log=self.ledger.log, witnesses=[self.ledger.witness], quorum=1
                ).require()
            checkpoint = notes[appended.checkpoint]
            check_inclusion(leaf_hash(one), appended.index, checkpoint.size, appended.path, checkpoint.root)
            indices.add(appended.index)
        if len(indices) != sum(len(sent) for sent, _ in self.answers):
            raise SystemExit("two entries were given one index")
        return len(indices)

    def _each(self) -> Iterator[tuple[bytes, Appended | RefusedEntry]]:
        for sent, body in self.answers:
            single = len(sent) == 1
            yield from zip(
                sent, [parse_appended(body)] if single else parse_batch_answers(body, number=len(sent)), strict=True
            )

    def _cpu(self) -> float:
        spent: float = self.ledger.cpu()
        return spent + time.process_time()


@dataclass
class Rounds:
    """What was measured, round by round."""

    raw_one: list[Rate] = field(default_factory=list)
    raw: list[Rate] = field(default_factory=list)  # before and after each round
    opened: list[Rate] = field(default_factory=list)
    load: list[Told] = field(default_factory=list)
    single: list[Told] = field(default_factory=list)
    append_ms: list[float] = field(default_factory=list)
    append_busy_ms: list[float] = field(default_factory=list)
    synchronised_ms: list[float] = field(default_factory=list)


async def measure(given: argparse.Namespace, ledger: RunningLedger, pool: ProcessPoolExecutor) -> Rounds:
    """Raw rates, load, raw rates, and so on; the first round warms up."""
    print("signing entries, and a round to warm up", flush=True)
    prepared = iter(entries(range(int((given.rounds + 1) * given.seconds * given.prepared))))
    raw = RawRate(pool, [*islice(prepared, 512)])
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_ALIVE_SECONDS)
    async with aiohttp.ClientSession(connector=connector) as session:
        load = Load(ledger, session)
        await one_round(given, raw, load, prepared, Rounds())
        found = Rounds()
        for number in range(given.rounds):
            await one_round(given, raw, load, prepared, found)
            print(
                f"round {number + 1}: {found.load[-1].per_second:,.0f} entries/s, raw {found.raw[-1].per_second:,.0f}"
            )
        print(f"{load.check():,} answers checked: path, log's signature, witness's")
    return found


async def one_round(given: argparse.Namespace, raw: RawRate, load: Load, left: Iterator[bytes], found: Rounds) -> None:
    """Each thing once."""
    found.raw_one.append(await asyncio.to_thread(raw.verified, 1))
    found.raw.append(await asyncio.to_thread(raw.verified, PROCESSORS))
    busy, waited = await asyncio.gather(
        load.rate(given.at_once, left, given.batch, given.seconds),
        load.latencies(left, given.seconds, pause=BUSY_PAUSE_SECONDS),
    )
    found.load.append(busy)
    found.append_busy_ms += waited
    found.raw.append(await asyncio.to_thread(raw.verified, PROCESSORS))
    found.opened.append(await asyncio.to_thread(raw.opened, PROCESSORS))
    found.synchronised_ms.append(synchronised_ms(given.folder))
    found.append_ms += await load.latencies(left, ALONE_SECONDS)
    found.single.append(await load.rate(SINGLE_CLIENTS, left, 1, SINGLE_SECONDS))


def told(name: str, samples: list[float], unit: str) -> float:
    """Print median and range; the median."""
    middle, low, high = statistics.median(samples), min(samples), max(samples)
    digits = 3 if middle < 10 else 0
    print(f"{name:>28}: {middle:10,.{digits}f} {unit} ({low:,.{digits}f} to {high:,.{digits}f})")
    return middle


def ratios(found: Rounds) -> dict[str, float]:
    """Of each round, to the raw rates beside it."""
    pairs = zip(found.raw[::2], found.raw[1::2], strict=True)
    beside = [Rate((a.per_second + b.per_second) / 2, (a.cpu_us + b.cpu_us) / 2) for a, b in pairs]
    rates = [one.per_second for one in found.load]

    def to(raw: list[Rate]) -> list[float]:
        return [rate / one.per_second for rate, one in zip(rates, raw, strict=True)]

    cpu = [raw.cpu_us / one.cpu_us for raw, one in zip(beside, found.load, strict=True)]
    return {
        "ratio": round(told("of the raw rate, all cores", to(beside), "x"), 3),
        "ratio_one": round(told("of one core's raw rate", to(found.raw_one), "x"), 3),
        "ratio_opened": round(told("of whole checks, all cores", to(found.opened), "x"), 3),
        "cpu_ratio": round(told("raw check's CPU / entry's", cpu, "x"), 3),
    }


def latency(name: str, taken: list[float]) -> dict[str, float]:
    """Print median and 95th percentile."""
    middle, high = statistics.median(taken), statistics.quantiles(taken, n=20)[-1]
    print(f"{name:>28}: {middle:10,.1f} ms (95 %: {high:,.1f})")
    return {f"{name}_ms": round(middle, 1), f"{name}_p95_ms": round(high, 1)}


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in a round")
    parser.add_argument("--at-once", type=int, default=8, help="clients")
    parser.add_argument("--batch", type=int, default=512, help="entries of a request")
    parser.add_argument("--prepared", type=int, default=14_000, help="entries signed beforehand for a second of load")
    parser.add_argument("--postgresql", action="store_true", help="on a PostgreSQL server, in place of SQLite")
    given = parser.parse_args()
    with ProcessPoolExecutor(PROCESSORS) as pool, contextlib.ExitStack() as stack:
        list(pool.map(abs, range(PROCESSORS)))
        given.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres_server(given.folder)) if given.postgresql else None
        ledger = stack.enter_context(running_ledger(given.folder, server))
        found = uvloop.run(measure(given, ledger, pool))
    print(f"{PROCESSORS} processors; others took of the machine, by round: ", end="")
    print(", ".join(f"{one.others:.0%}" for one in found.load))
    figures = {
        "entries_per_s": round(told("entries", [one.per_second for one in found.load], "/s")),
        "raw_per_s": round(told("raw checks, all cores", [one.per_second for one in found.raw], "/s")),
        "raw_one_per_s": round(told("raw checks, one core", [one.per_second for one in found.raw_one], "/s")),
        "opened_per_s": round(told("whole checks, all cores", [one.per_second for one in found.opened], "/s")),
    } | ratios(found)
    figures["entry_cpu_us"] = round(told("CPU of an entry, everyone's", [one.cpu_us for one in found.load], "us"), 1)
    figures["single_per_s"] = round(told("entries, one by a request", [one.per_second for one in found.single], "/s"))
    figures |= latency("append", found.append_ms) | latency("append_busy", found.append_busy_ms)
    figures["synchronised_ms"] = round(told("a write that is on disk", found.synchronised_ms, "ms"), 2)
    goals = {"ratio": 0.7, "entries_per_s": 3000 if given.postgresql else 4000}
    print(json.dumps({"database": "postgresql" if given.postgresql else "sqlite", **figures, "goals": goals}))


if __name__ == "__main__":
    main()
