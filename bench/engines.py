"""What the way through Cloister adds to an engine's answers: latency and throughput with and without it, as ratios.

    PYTHONPATH=src python bench/engines.py [--engine NAME…] [--rounds 8] [--answers 8] [--models DIR]

Without Cloister is the engine's own program outside of the sandbox, asked over plain HTTP on TCP; with it, a client
encrypts, and relay, gateway and the engine in its sandbox do the rest, by a system as `cloister serve` starts it, the
model sealed. Both are the same staged files and the same model, and each request has a process forked from the one that
loaded them. In each round every way is asked once, without Cloister at its beginning and at its end: the ratio of these
two is the machine's noise. `throughput` is the time of `--answers` requests, four at a time, with over without. `cpu`
is of all processes on the way, the client's among them. `fork_ms` is what the process for each request adds to one
answer of an engine without Cloister, `fork_cpu_ms` its CPU time.

Each engine has two models. A tiny one answers in milliseconds: its ratio shows the way alone. The goal of 1.02 is for
the other, as large as a real small one, whose weights are made up. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import engines_models
import uvloop
from measured import started
from systems import descendants, system

from cloister.client.exchange import UserRequest
from cloister.client.session import Session
from cloister.engines.known_sample import spoken_sample
from cloister.sandbox.closure import INTERPRETER, PACKAGES, StagedEngine, stage, staging_folder
from cloister.services.gateway.engine_choice import ENGINES

GOAL = 1.02
AT_ONCE = 4
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Question:
    """What an engine is asked, and how large its answer is told to be."""

    path: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Subject:
    """An engine with a model, by `make` in a folder, and what it is asked; `judged`: whether the goal is about it."""

    engine: str
    size: str
    make: tuple[str, ...]  # the command that makes it, before the folder
    question: Question
    judged: bool = False

    @property
    def name(self) -> str:
        return f"{self.engine}_{self.size}"


def chat(tokens: int) -> Question:
    """A question that is answered in at most so many tokens."""
    body = {"model": "llama", "temperature": 0, "max_tokens": tokens}
    asked = body | {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
    return Question("/v1/chat/completions", "application/json", json.dumps(asked).encode())


def hearing() -> Question:
    """The recording that comes with the engines, as a form; the encoder works on 30 s whatever is said in them."""
    kind = "multipart/form-data; boundary=bench-boundary"
    part = "--bench-boundary\r\nContent-Disposition: form-data; name="
    fields = f'{part}"model"\r\n\r\nwhisper-1\r\n{part}"language"\r\n\r\nen\r\n{part}"file"; filename="a.ogg"\r\n\r\n'
    body = fields.encode() + bytes(spoken_sample().file) + b"\r\n--bench-boundary--\r\n"
    return Question("/v1/audio/transcriptions", kind, body)


MAKES = (sys.executable, engines_models.__file__)
SUBJECTS = (
    Subject("transformers", "tiny", (*MAKES, "tiny", "llama"), chat(32)),
    Subject("transformers", "large", (*MAKES, "large", "llama"), chat(16), judged=True),
    Subject("whisper", "tiny", (*MAKES, "tiny", "whisper"), hearing()),
    Subject("whisper", "large", (*MAKES, "large", "whisper"), hearing(), judged=True),
)


@dataclass
class Way:
    """One way to an engine: how it is asked, and the processes whose CPU time it takes beside this one's."""

    ask: Callable[[], Awaitable[bytes]]
    roots: tuple[int, ...]
    cpu: float = 0.0  # seconds
    asked: int = 0

    async def seconds(self, *, answers: int = 1, at_once: int = 1) -> tuple[float, set[bytes]]:
        """How long so many answers take, and what they say."""
        places = asyncio.Semaphore(at_once)

        async def one() -> bytes:
            async with places:
                return await self.ask()

        before, begin = self._spent(), time.perf_counter()
        said = set(await asyncio.gather(*(one() for _ in range(answers))))
        took = time.perf_counter() - begin
        self.cpu += self._spent() - before
        self.asked += answers
        return took, said

    @property
    def cpu_ms(self) -> float:
        """CPU time of an answer, in milliseconds."""
        return self.cpu / self.asked * 1e3

    def _spent(self) -> float:
        return time.process_time() + sum(map(tree_seconds, self.roots))


def tree_seconds(root: int) -> float:
    """CPU time of a process, of all that it started, and of those of them that ended and were waited for."""
    ticks = 0
    for pid in (root, *descendants(root)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / TICK


@contextlib.contextmanager
def plain(subject: Subject, staged: StagedEngine, model: Path, *how: str) -> Iterator[Way]:
    """The engine without Cloister: what is staged for the sandbox, started outside of it on a port."""
    app, listener = staged.folder, socket.create_server(("127.0.0.1", 0))
    settings = {"LISTEN_FD": str(listener.fileno()), "MODEL": str(model), "LD_LIBRARY_PATH": str(app / "lib")}
    command = [str(app / INTERPRETER), "-I", "-S", "-B", str(Path(__file__).with_name("engines_plain.py"))]
    command += [str(app / PACKAGES), str(app / staged.program), *how]
    # A session of its own, as the sandbox's, since the scheduler shares out time by sessions.
    with listener, started(command, env=settings, pass_fds=[listener.fileno()], start_new_session=True) as process:
        port = listener.getsockname()[1]

        async def ask() -> bytes:
            return await over_http(port, subject.question)

        yield Way(ask, (process.pid,))


async def over_http(port: int, question: Question) -> bytes:
    """An answer over plain HTTP, on a connection of its own: an engine hangs up after each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {question.path} HTTP/1.1\r\nHost: engine\r\nContent-Type: {question.content_type}\r\n"
    writer.write(f"{head}Content-Length: {len(question.body)}\r\n\r\n".encode() + question.body)
    answer, body = (await reader.read()).split(b"\r\n\r\n", 1)
    writer.close()
    return answered(int(answer.split(b" ", 2)[1]), body)


def answered(status: int, body: bytes) -> bytes:
    """What an answer says, without what is another in each: its number and its time."""
    if status != 200:
        raise SystemExit(f"the engine answered {status}: {body[:300]!r}")
    said = {name: value for name, value in json.loads(body).items() if name not in {"id", "created"}}
    return json.dumps(said, sort_keys=True).encode()


@contextlib.contextmanager
def through(subject: Subject, artifact: Path) -> Iterator[tuple[Session, Way]]:
    """The engine with Cloister around it."""
    asked = subject.question
    request = UserRequest("POST", asked.path, (("content-type", asked.content_type),), asked.body)
    with system(subject.engine, model=artifact) as running:
        session = running.session("bench")

        async def ask() -> bytes:
            answer = await session.send(request)
            return answered(answer.response.status, answer.response.body)

        yield session, Way(ask, (running.pid("relay"), running.pid("gateway")))


@dataclass(frozen=True)
class Round:
    """What one answer took by each way, in seconds."""

    plain: float
    again: float
    through: float
    alone: float

    @property
    def without(self) -> float:
        return (self.plain + self.again) / 2


async def measure(ways: tuple[Way, Way, Way], rounds: int, answers: int) -> dict[str, Any]:
    """All ways in turn; every second round from the other end."""
    without, with_it, alone = ways
    said = set[bytes]()
    for way in ways:  # warm: the first answer of a plain engine waits for its model
        for _ in range(2):
            said |= (await way.seconds())[1]
    for way in ways:
        way.cpu, way.asked = 0.0, 0
    one = [await ask_round(without, with_it, alone, said, forth=number % 2 == 0) for number in range(rounds)]
    many = []
    for number in range(2):
        took = {}
        for way in (without, with_it) if number else (with_it, without):
            took[way is with_it], texts = await way.seconds(answers=answers, at_once=AT_ONCE)
            said |= texts
        many.append((took[False], took[True]))
    if len(said) != 1:
        raise SystemExit(f"the answers differ: {said}")
    cpu = {"cpu": round(with_it.cpu_ms / without.cpu_ms, 4), "fork_cpu_ms": round(without.cpu_ms - alone.cpu_ms, 2)}
    return figures(one, many, answers) | cpu


async def ask_round(without: Way, with_it: Way, alone: Way, said: set[bytes], *, forth: bool) -> Round:
    """One answer by each way, two without Cloister."""
    order = (without, with_it, alone, without)
    took = []
    for way in order if forth else reversed(order):
        seconds, texts = await way.seconds()
        said |= texts
        took.append(seconds)
    return Round(took[0], took[3], *(took[1:3] if forth else took[2:0:-1]))


def figures(one: Sequence[Round], many: Sequence[tuple[float, float]], answers: int) -> dict[str, Any]:
    """Medians and ranges over the rounds."""
    return {
        "without_ms": round(statistics.median(each.without for each in one) * 1e3, 2),
        "with_ms": round(statistics.median(each.through for each in one) * 1e3, 2),
        "latency": spread([each.through / each.without for each in one]),
        "noise": spread([each.again / each.plain for each in one]),
        "fork_ms": spread([(each.without - each.alone) * 1e3 for each in one]),
        "throughput": spread([after / before for before, after in many]),
        "without_per_s": round(statistics.median(answers / before for before, _ in many), 2),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, and the range."""
    found = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, 4) for name, value in found.items()}


def compare(subject: Subject, models: Path, rounds: int, answers: int) -> dict[str, Any]:
    """Make the model, seal it, serve it by every way, and measure."""
    folder = models / subject.name
    if not folder.exists():
        subprocess.run([*subject.make, str(folder)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="cloister-bench-") as kept:
        artifact = Path(kept, "sealed")
        seal = [sys.executable, "-m", "cloister", "model", "seal", str(folder), "-o", str(artifact)]
        subprocess.run(seal, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        staged = stage(ENGINES[subject.engine], staging_folder(Path(kept)))
        with (
            through(subject, artifact) as (session, with_it),
            plain(subject, staged, folder) as without,
            plain(subject, staged, folder, "alone") as alone,
        ):

            async def run() -> dict[str, Any]:
                async with session:
                    return await measure((without, with_it, alone), rounds, answers)

            return uvloop.run(run())


def main() -> None:
    """Measure, print a line for each model, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted({subject.engine for subject in SUBJECTS})
    parser.add_argument("--engine", nargs="+", choices=known, default=known)
    parser.add_argument("--rounds", type=int, default=8, help="with a large model; four times as many with a tiny one")
    parser.add_argument("--answers", type=int, default=8, help="of a large model, for its throughput")
    parser.add_argument("--models", type=Path, help="where models are kept, for the next run to find")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="cloister-bench-") as made:
        for subject in (one for one in SUBJECTS if one.engine in given.engine):
            times = 1 if subject.judged else 4
            shown = compare(subject, given.models or Path(made), given.rounds * times, given.answers * times)
            print(f"{subject.name}, load {os.getloadavg()[0]:.1f}: {shown}", flush=True)
            found[subject.name] = shown
    judged = [found[one.name] for one in SUBJECTS if one.judged and one.name in found]
    met = {name: all(each[name]["median"] <= GOAL for each in judged) for name in ("latency", "throughput")}
    print(json.dumps({"processors": len(os.sched_getaffinity(0)), "goal": GOAL, "met": met} | found))


if __name__ == "__main__":
    main()
