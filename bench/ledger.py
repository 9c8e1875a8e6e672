"""Entries a second through a real ledger, beside the raw rate of signature checks of such entries in the same run.

    PYTHONPATH=src python bench/ledger.py [--rounds 7] [--seconds 2] [--at-once 64] [--database LINES]

A ledger and a witness are processes of their own; this one is the clients. Every entry is signed, new, and about 300
bytes; each is answered under a checkpoint that the witness cosigned, and after the last round every answer is checked:
its path, the log's signature, the witness's. An entry counts when its answer is here.

Three raw rates, taken before and after each round: `raw_one`, Ed25519 verifications of these entries a second in one
process; `raw`, the same in one process for each processor; `opened`, all that a check of an entry is (parsing, COSE,
signature), again on all processors. Where others share the machine, all rates fall, but not evenly: a ledger's several
processes get more turns than the raw rate's. So the same ratio is also told in CPU time, which turns do not touch:
`cpu_ratio` is the CPU time of a raw check over all that ledger, witness and clients used for an entry. What others
took of the machine in each round is shown. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from ledgers import Busy, RunningLedger, of_others, running_ledger

from cloister.crypto.merkle import check_inclusion, leaf_hash
from cloister.crypto.signing import SigningKey
from cloister.formats.cose_sign1 import CoseSign1, sig_structure
from cloister.formats.ledger_messages import parse_appended
from cloister.formats.release import Revocation
from cloister.formats.statement import parse_statement
from cloister.ledger.checkpoints import VerifiedCheckpoint, examine_checkpoint
from cloister.ledger.statements import open_statement, sign_statement

CBOR = {"content-type": "application/cbor"}
PROCESSORS = len(os.sched_getaffinity(0))
RAW_SECONDS = 0.6
SIGNERS = [SigningKey.generate() for _ in range(4)]
SAMPLE = 512  # entries that the raw rate goes round


def entry(number: int) -> bytes:
    """A new signed statement, as one party's revocation of something."""
    record = Revocation(contract=bytes(32), target=number.to_bytes(32, "big"), reason="a bench")
    return sign_statement("revocation", record, [SIGNERS[number % len(SIGNERS)]])


def entries(numbers: range) -> list[bytes]:
    return [entry(number) for number in numbers]


# The raw rate, in processes of its own.


def verifying(sample: list[bytes]) -> Iterator[Callable[[], object]]:
    """For each entry: its signature verified, parsed beforehand."""
    for one in sample:
        statement = parse_statement(one)
        cose = CoseSign1.parse(statement.signatures[0])
        key, signature = Ed25519PublicKey.from_public_bytes(cose.kid), cose.signature
        message = sig_structure(cose.protected, statement.payload)
        yield lambda key=key, signature=signature, message=message: key.verify(signature, message)  # type: ignore[misc]


def opening(sample: list[bytes]) -> Iterator[Callable[[], object]]:
    """For each entry: all that checks it."""
    for one in sample:
        yield lambda one=one: open_statement(one)  # type: ignore[misc]


def go_round(sample: list[bytes], *, whole: bool, until: float) -> tuple[int, float]:
    """Checks up to a moment of the monotonic clock, and their CPU seconds."""
    actions = list(opening(sample) if whole else verifying(sample))
    done, begin = 0, time.process_time()
    while time.monotonic() < until:
        for action in actions[done % SAMPLE :][:32]:
            action()
        done += 32
    return done, time.process_time() - begin


@dataclass(frozen=True, slots=True)
class Rate:
    """A raw rate."""

    per_second: float
    cpu_us: float


class Raw:
    """The raw rates."""

    def __init__(self, pool: ProcessPoolExecutor, sample: list[bytes]) -> None:
        self._pool = pool
        self._sample = sample

    def rate(self, processes: int, *, whole: bool = False) -> Rate:
        """In so many processes at once."""
        begin = time.monotonic() + 0.1  # to parse what is parsed beforehand
        asked = [
            self._pool.submit(go_round, self._sample, whole=whole, until=begin + RAW_SECONDS) for _ in range(processes)
        ]
        found = [one.result() for one in asked]
        done = sum(count for count, _ in found)
        return Rate(done / (time.monotonic() - begin + 0.1), sum(cpu for _, cpu in found) / done * 1e6)


# The ledger's rate.


@dataclass
class Load:
    """Clients, and the answers that they got."""

    ledger: RunningLedger
    session: aiohttp.ClientSession
    answers: list[tuple[bytes, bytes]] = field(default_factory=list)  # an entry, the answer's bytes

    async def single(self, left: Iterator[bytes], until: float) -> int:
        """One client that appends one entry after the other."""
        done = 0
        for one in left:
            async with self.session.post(f"{self.ledger.url}/entries", data=one, headers=CBOR) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise SystemExit(f"the ledger refused: {body[:300]!r}")
            self.answers.append((one, body))
            done += 1
            if time.monotonic() >= until:
                break
        return done

    async def rate(self, clients: int, left: Iterator[bytes], seconds: float) -> tuple[float, float, float]:
        """Entries a second, CPU microseconds of everyone for one, and the share of the machine that others took."""
        before, cpu, begin = Busy.now(), self._cpu(), time.monotonic()
        done = sum(await asyncio.gather(*(self.single(left, begin + seconds) for _ in range(clients))))
        took, spent = time.monotonic() - begin, self._cpu() - cpu
        return done / took, spent / done * 1e6, of_others(before, Busy.now(), spent)

    async def latencies(self, left: Iterator[bytes], seconds: float) -> list[float]:
        """Milliseconds of appends, one after the other, on a ledger that does nothing else."""
        taken, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            await self.single(left, 0)
            taken.append((time.perf_counter() - begin) * 1000)
        return taken

    def check(self) -> int:
        """Hold every answer against what it must prove; how many there are."""
        notes: dict[bytes, VerifiedCheckpoint] = {}
        indices = set()
        for one, body in self.answers:
            appended = parse_appended(body)
            if appended.checkpoint not in notes:
                notes[appended.checkpoint] = examine_checkpoint(
                    appended.checkpoint, log=self.ledger.log, witnesses=[self.ledger.witness], quorum=1
                ).require()
            checkpoint = notes[appended.checkpoint]
            check_inclusion(leaf_hash(one), appended.index, checkpoint.size, appended.path, checkpoint.root)
            indices.add(appended.index)
        if len(indices) != len(self.answers):
            raise SystemExit("two entries were given one index")
        return len(indices)

    def _cpu(self) -> float:
        spent: float = self.ledger.cpu()
        return spent + time.process_time()


@dataclass
class Rounds:
    """What was measured, round by round."""

    raw_one: list[Rate] = field(default_factory=list)
    raw: list[Rate] = field(default_factory=list)
    opened: list[Rate] = field(default_factory=list)
    entries: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    append_ms: list[float] = field(default_factory=list)


async def measure(given: argparse.Namespace, ledger: RunningLedger, pool: ProcessPoolExecutor) -> Rounds:
    """Raw rates, load, raw rates, and so on."""
    found, raw = Rounds(), Raw(pool, entries(range(SAMPLE)))
    number = SAMPLE
    connector = aiohttp.TCPConnector(limit=given.at_once)
    async with aiohttp.ClientSession(connector=connector) as session:
        load = Load(ledger, session)
        for turn in range(given.rounds + 1):
            prepared = entries(range(number, number + int(given.seconds * given.prepared)))
            number += len(prepared)
            left = iter(prepared)
            before = [raw.rate(1), raw.rate(PROCESSORS), raw.rate(PROCESSORS, whole=True)]
            waited = await load.latencies(left, 0.5)
            per_second, cpu_us, others = await load.rate(given.at_once, left, given.seconds)
            if next(left, None) is None:
                raise SystemExit("too few entries were prepared: raise --prepared")
            if not turn:  # the first warms up
                continue
            found.raw_one.append(before[0])
            found.raw += [before[1], raw.rate(PROCESSORS)]
            found.opened.append(before[2])
            found.entries.append(per_second)
            found.cpu_us.append(cpu_us)
            found.others.append(others)
            found.append_ms += waited
        print(f"{load.check():,} answers checked: path, log's signature, witness's")
    return found


def told(name: str, samples: list[float], unit: str) -> float:
    """Print median and range."""
    middle = statistics.median(samples)
    digits = 3 if middle < 10 else 0
    low, high = min(samples), max(samples)
    print(f"{name:>28}: {middle:10,.{digits}f} {unit} ({low:,.{digits}f} to {high:,.{digits}f})")
    return middle


def ratios(found: Rounds) -> dict[str, float]:
    """Of each round, to the raw rates beside it."""
    beside = [
        (one.per_second + other.per_second) / 2 for one, other in zip(found.raw[::2], found.raw[1::2], strict=True)
    ]
    of_all = [rate / raw for rate, raw in zip(found.entries, beside, strict=True)]
    of_one = [rate / raw.per_second for rate, raw in zip(found.entries, found.raw_one, strict=True)]
    opened = [rate / raw.per_second for rate, raw in zip(found.entries, found.opened, strict=True)]
    cpu = [raw.cpu_us / one for one, raw in zip(found.cpu_us, found.raw[::2], strict=True)]
    return {
        "ratio": round(told("of the raw rate, all cores", of_all, "x"), 3),
        "ratio_one": round(told("of one core's raw rate", of_one, "x"), 3),
        "ratio_opened": round(told("of whole checks, all cores", opened, "x"), 3),
        "cpu_ratio": round(told("raw check's CPU / entry's", cpu, "x"), 3),
    }


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in a round")
    parser.add_argument("--at-once", type=int, default=64, help="clients")
    parser.add_argument("--prepared", type=int, default=20_000, help="entries signed beforehand for a second of load")
    parser.add_argument("--database", default="", help="lines of the ledger's settings; none for SQLite")
    given = parser.parse_args()
    with ProcessPoolExecutor(PROCESSORS) as pool, tempfile.TemporaryDirectory() as folder:
        list(pool.map(abs, range(PROCESSORS)))
        with running_ledger(Path(folder), given.database) as ledger:
            found = uvloop.run(measure(given, ledger, pool))
    print(f"{PROCESSORS} processors; others took of the machine, by round: ", end="")
    print(", ".join(f"{share:.0%}" for share in found.others))
    figures = {
        "entries_per_s": round(told("entries", found.entries, "/s")),
        "raw_per_s": round(told("raw checks, all cores", [one.per_second for one in found.raw], "/s")),
        "raw_one_per_s": round(told("raw checks, one core", [one.per_second for one in found.raw_one], "/s")),
        "opened_per_s": round(told("whole checks, all cores", [one.per_second for one in found.opened], "/s")),
    } | ratios(found)
    figures["entry_cpu_us"] = round(told("CPU of an entry, everyone's", found.cpu_us, "us"), 1)
    figures["append_ms"] = round(told("an append by itself", found.append_ms, "ms"), 2)
    figures["append_p95_ms"] = round(statistics.quantiles(found.append_ms, n=20)[-1], 2)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
