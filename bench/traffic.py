"""What privacy costs at each level, in bytes and milliseconds, and what a classifier still learns of the topic.

    PYTHONPATH=src python bench/traffic.py [--train 240] [--test 160] [--at-once 40] [--longer 3]

An engine streams answers of two topics token by token (`traffic_streams.py`); a gateway, a process of its own with
receipts on, seals them; what a relay would read from its connection is captured with its time (`traffic_capture.py`).
At level none the engine is read without Cloister: what TLS alone would leave, but for a constant around each write.
Every level is shown the same answers, in turn, and a classifier is trained on some and tested on others, whose texts
are others too (`traffic_classifier.py`). `--longer` adds a level: strict, with answers that many times as long, which
have different numbers of records: what these tell is what strict privacy leaves. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import gateway as bench
import traffic_streams
import uvloop
from measured import started
from traffic_capture import Capture, captured
from traffic_classifier import Learned, learned

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LEVELS = ("none", "standard", "strict")


async def engine(path: str) -> None:
    """Stream the answers that are asked for."""

    async def answer(reader, writer):
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                asked = json.loads(await reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            said = traffic_streams.answer(asked["part"], asked["number"], longer=asked["longer"])
            writer.write(HEAD)
            loop = asyncio.get_running_loop()
            due = loop.time()
            for event, pause in zip(said.events, said.pauses, strict=True):
                due += pause
                await asyncio.sleep(max(0.0, due - loop.time()))
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            writer.write(b"0\r\n\r\n")

    server = await asyncio.start_unix_server(answer, path)
    print(0, flush=True)
    await server.serve_forever()


async def measure(path: str, port: int, given: argparse.Namespace) -> dict[str, list[Capture]]:
    """Captures of each level, those to train on first."""
    await asyncio.sleep(1.1)  # dates of the second in which the gateway started are refused
    asked = [("train", number) for number in range(given.train)] + [("test", number) for number in range(given.test)]
    levels = {level: (level, 1.0) for level in LEVELS}
    if given.longer > 1:
        levels[f"strict, {given.longer:g} times as long"] = ("strict", given.longer)
    found: dict[str, list[Capture]] = {level: [] for level in levels}
    for at in range(0, len(asked), given.at_once):
        for name, (level, longer) in levels.items():
            lot = [
                {"part": part, "number": number, "longer": longer} for part, number in asked[at : at + given.at_once]
            ]
            found[name] += await asyncio.gather(*(captured(level, path, port, one) for one in lot))
    return found


def learn(captures: list[Capture], given: argparse.Namespace) -> Learned:
    """What the classifier says of one level."""
    topics = [number % 2 for number in range(given.train)] + [number % 2 for number in range(given.test)]
    seen = [capture.seen for capture in captures]
    return learned(seen[: given.train], seen[given.train :], topics)


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=240, help="answers to train on")
    parser.add_argument("--test", type=int, default=160, help="answers to test on")
    parser.add_argument("--at-once", type=int, default=40)
    parser.add_argument("--longer", type=float, default=1.0, help="times, of answers of another level")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        uvloop.run(engine(given.engine))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "engine.sock")
        with started([sys.executable, __file__, "--engine", path], stdout=subprocess.PIPE) as behind:
            assert behind.stdout is not None
            behind.stdout.readline()
            with bench.role("receipt", path) as (_, port):
                found = uvloop.run(measure(path, port, given))
    clear, figures = found["none"], {}
    print(f"{given.train} answers to train on, {given.test} to test on; topics {' and '.join(traffic_streams.TOPICS)}")
    for level, captures in found.items():
        said = learn(captures, given)
        same = all(one.text == other.text for one, other in zip(captures, clear, strict=True))
        figures[level] = told(captures, clear if same else captures, said)
        print(line(level, figures[level], said))
    print(json.dumps(figures))


def told(captures: list[Capture], clear: list[Capture], said: Learned) -> dict[str, object]:
    """One level's figures: medians, and what was added to the same answers without Cloister."""
    pairs = list(zip(captures, clear, strict=True))
    sizes = [sum(size for _, size in one.seen) for one in captures]
    return {
        "sent_bytes": statistics.median(one.sent for one in captures),
        "answer_bytes": statistics.median(sizes),
        "different_sizes": len(set(sizes)),
        "text_bytes": statistics.median(one.text for one in captures),
        "added_first_ms": round(statistics.median(one.first - other.first for one, other in pairs) * 1000, 1),
        "added_last_ms": round(statistics.median(one.last - other.last for one, other in pairs) * 1000, 1),
        "accuracy": said.accuracy,
        "auprc": said.auprc,
        "baseline": said.baseline,
        "classifier": said.by,
    }


def line(level: str, figures: dict[str, object], said: Learned) -> str:
    """For a person."""
    (accuracy, worst, best), (auprc, least, most) = said.accuracy, said.auprc
    return (
        f"{level}: {figures['sent_bytes']:,.0f} bytes out, {figures['answer_bytes']:,.0f} back for "
        f"{figures['text_bytes']:,.0f} of content, in {figures['different_sizes']} sizes; first word "
        f"{figures['added_first_ms']} ms later, end {figures['added_last_ms']} ms; accuracy {accuracy:.2f} "
        f"({worst:.2f} to {best:.2f}), AUPRC {auprc:.2f} ({least:.2f} to {most:.2f}), guessing {said.baseline:.2f}"
    )


if __name__ == "__main__":
    main()
