"""A soak: a whole local system at 80 % of its limit, with 1 % of faults on purpose, for as long as it is told.

    PYTHONPATH=src python bench/soak.py [--seconds 1800]

First the limit is measured: answers a second to clients that always wait for one, with an engine that only counts.
Then requests come by chance at 80 % of that, most through the client library to the relay, some through the proxy. One
in a hundred is a fault instead: an upload that breaks off, a client that leaves, garbage, garbage that calls itself
sealed; and now and then the engine is killed. The client's work is in the limit: it shares the machine.

It is met if every error was one of ours, every fault was taken as it should, no service had to be started again, and no
process grew: on runs of at least 20 minutes, once they have settled, the line through the samples may rise by 4 MiB or
5 %. The gateway counts without its replay table, whose size is fixed; of the engine the process that loaded the model,
in each of its lives. The last line is JSON; the exit status is 1 if it is not met.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import uvloop
from soak_faults import Faults
from soak_memory import Memory
from systems import Running, system

from cloister.client.session import Session
from cloister.client.transcription import Wishes, transcribed_text, transcription_request
from cloister.errors import CloisterError

SHARE = 0.8  # of the limit
FAULTY = 0.01  # of the requests
PROXIED = 0.02
AT_ONCE = 16  # clients, when the limit is measured
OUTSTANDING = 48  # requests, at most
SIZES = (200, 2000, 20_000, 60_000)  # bytes of audio
SETTLED_SECONDS = 660.0  # by then a window of dates has passed twice, and what is kept for its requests with it
JUDGED_SECONDS = 1200.0


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    explained: int = 0  # errors while an engine was gone that we killed
    late: int = 0  # requests that waited for another to end before they were sent
    errors: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def quantiles(self, since: int = 0) -> tuple[float, float]:
        """Median and 99th percentile in milliseconds, of the answers from number `since` on."""
        took = sorted(self.seconds[since:])
        if not took:
            return 0.0, 0.0
        return round(statistics.median(took) * 1e3, 1), round(took[int(len(took) * 0.99)] * 1e3, 1)


@dataclass
class Soak:
    """One run."""

    running: Running
    session: Session
    http: aiohttp.ClientSession
    faults: Faults
    memory: Memory
    tally: Tally = field(default_factory=Tally)

    async def limit(self, seconds: float) -> float:
        """Answers a second to clients that always wait for one."""
        end, count = time.monotonic() + seconds, 0

        async def client() -> None:
            nonlocal count
            while time.monotonic() < end:
                await self.ask()
                count += 1

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        return count / seconds

    async def ask(self) -> None:
        """One request through the client library."""
        size = random.choice(SIZES)
        answer = await self.session.send(transcription_request(bytes(size), Wishes("whisper-1")))
        text = transcribed_text(answer.response)
        if text != f"{size} bytes":
            raise CloisterError(f"the answer is another's: {text!r}")

    async def ask_proxy(self) -> None:
        """One request as an OpenAI client sends it."""
        size = random.choice(SIZES)
        form = aiohttp.FormData({"model": "whisper-1"})
        form.add_field("file", bytes(size), filename="a.wav")
        async with self.http.post("audio/transcriptions", data=form) as response:
            said = await response.json()
            if response.status != 200 or said["text"] != f"{size} bytes":
                raise CloisterError(f"the proxy answered {response.status}")

    async def one(self) -> None:
        """One request or fault, counted."""
        began = time.monotonic()
        try:
            if random.random() < FAULTY:
                wrong = await self.faults.next()
                if wrong:
                    self.tally.errors[wrong] += 1
                return
            await (self.ask_proxy() if random.random() < PROXIED else self.ask())
        except (CloisterError, OSError, aiohttp.ClientError, TimeoutError) as error:
            if self.faults.explain(began, time.monotonic()):
                self.tally.explained += 1
            else:
                self.tally.errors[f"{type(error).__name__}: {error}"[:200]] += 1
        else:
            self.tally.answered += 1
            self.tally.seconds.append(time.monotonic() - began)

    async def load(self, rate: float, end: float) -> None:
        """Requests by chance, `rate` a second, until `end`."""
        due, under_way = time.monotonic(), set[asyncio.Task[None]]()
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(under_way) >= OUTSTANDING:
                self.tally.late += 1
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self.one())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due = max(due + random.expovariate(rate), time.monotonic() - 1.0)  # a pause is not made up for in a rush
        if under_way:
            await asyncio.wait(under_way)

    async def watch(self, began: float, every: float) -> None:
        """Sample memory and show progress."""
        before = 0
        while True:
            await asyncio.sleep(every)
            at = time.monotonic() - began
            self.memory.sample(at)
            p50, p99 = self.tally.quantiles(before)
            rate, before = (len(self.tally.seconds) - before) / every, len(self.tally.seconds)
            print(
                f"{at:6.0f} s  {rate:6.1f}/s  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  errors {self.tally.errors.total()}"
                f"  injected {sum(self.faults.counts.values())}  MiB: {self.memory.now()}",
                flush=True,
            )

    async def kills(self, every: float) -> None:
        """Kill the engine now and then."""
        while True:
            await asyncio.sleep(every)
            wrong = await self.faults.kill_engine()
            if wrong:
                self.tally.errors[wrong] += 1


async def soak(running: Running, seconds: float) -> dict[str, Any]:
    """Run it; the figures."""
    token = running.state.token.read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        running.session("soak") as session,
        aiohttp.ClientSession(base_url=running.record.base_url + "/", headers=headers) as http,
    ):
        run = Soak(running, session, http, Faults(running, session), Memory(running))
        await run.ask()
        limit = await run.limit(max(3.0, min(30.0, seconds / 20)))
        print(f"limit: {limit:.1f} requests a second to {AT_ONCE} clients; from now on {limit * SHARE:.1f}", flush=True)
        began = time.monotonic()
        beside = [
            asyncio.create_task(run.watch(began, min(10.0, seconds / 6))),
            asyncio.create_task(run.kills(min(60.0, seconds / 3))),
        ]
        await run.load(limit * SHARE, began + seconds)
        for task in beside:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return figures(run, limit, seconds)


def figures(run: Soak, limit: float, seconds: float) -> dict[str, Any]:
    judged = seconds >= JUDGED_SECONDS
    memory = run.memory.judged(SETTLED_SECONDS) if judged else run.memory.judged(0.0, start_up=0.0)
    flat = all(one["flat"] for one in memory.values())
    errors, restarts = run.tally.errors, run.running.restarts()
    p50, p99 = run.tally.quantiles()
    return {
        "met": not errors and not restarts and run.tally.answered > 0 and (flat or not judged),
        "seconds": seconds,
        "limit_per_s": round(limit, 1),
        "rate_per_s": round(run.tally.answered / seconds, 1),
        "answered": run.tally.answered,
        "late": run.tally.late,
        "p50_ms": p50,
        "p99_ms": p99,
        "injected": run.faults.counts,
        "errors_explained": run.tally.explained,
        "errors": errors.total(),
        "error_kinds": dict(errors.most_common(5)),
        "restarts": restarts,
        "memory_judged": judged,
        "memory": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1800.0)
    given = parser.parse_args()
    with system("echo") as running:
        found = uvloop.run(soak(running, given.seconds))
        if not found["met"]:
            print(running.logs())
    for name, one in found["memory"].items():
        print(f"{name:8} {one}")
    print(json.dumps(found))
    raise SystemExit(0 if found["met"] else 1)


if __name__ == "__main__":
    main()
