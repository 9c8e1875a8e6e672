"""What one gateway worker pays for a streamed event, in units of one X25519 exchange timed in the same run.

    PYTHONPATH=src python bench/streaming.py [--rounds 8] [--streams 8] [--events 250] [--chat-seconds 5]

An engine streams events of a transcript, each in a write of its own, a few milliseconds apart, so that hardly two of
them are read together; the gateway, a process of its own with replay table, limits, metrics and receipts on, seals
each as it comes; clients read. Times are CPU time of the gateway, user and system, over all events of a round, what
the requests themselves cost among them. Then chat streams at 5,000 and 20,000 events a second go over the whole path,
relay and client too (`streaming_chat.py`), beside what the same client reads of the engine itself. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from email.utils import formatdate
from pathlib import Path

import gateway as bench
import streaming_chat
import uvloop
from measured import Sample, cpu_seconds, on_one_processor, peak_rss_mib, ratio, spread, started, x25519_us

from cloister.formats.binary_http import Framing, Request, encode_head
from cloister.formats.binary_http_stream import finish
from cloister.formats.key_config import KeyConfig
from cloister.ohttp.chunked import encapsulate

EVENT = b'data: {"type":"transcript.text.delta","delta":" and every word of it"}\n\n'
PAUSE_SECONDS = 0.004
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ASKED = (
    b"POST /gateway HTTP/1.1\r\nhost: gateway\r\ncontent-type: message/ohttp-chunked-req\r\ncontent-length: %d\r\n\r\n"
)


async def engine(path: str, events: int) -> None:
    """Stream events to whoever asks."""

    async def answer(reader, writer):
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).split(b"content-length: ")
                if len(head) == 1:
                    await reader.readuntil(b"0\r\n\r\n")
                else:
                    await reader.readexactly(int(head[1].split(b"\r\n")[0]))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            writer.write(HEAD)
            for _ in range(events):
                writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
                await asyncio.sleep(PAUSE_SECONDS)
            writer.write(b"0\r\n\r\n")

    await served(answer, path)


async def served(answer, path: str) -> None:
    """Answer on a socket, and say when it is there."""
    server = await asyncio.start_unix_server(answer, path)
    print(0, flush=True)
    await server.serve_forever()


async def stream(port: int) -> int:
    """One request, and how many pieces its answer came in."""
    key = bench.KEYS[7]
    sealer, _ = encapsulate(KeyConfig(7, key.kem, key.public))
    headers = (("content-type", "audio/wav"), ("date", formatdate(time.time(), usegmt=True)))
    inner = encode_head(Request("POST", "https", "gateway", bench.ENDPOINT.path, headers), framing=Framing(2))
    body = sealer.head + sealer.seal(inner + b"\x04RIFF") + sealer.finish(finish())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ASKED % len(body) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or b"message/ohttp-chunked-res" not in head:
        raise SystemExit(f"the gateway refused: {head!r}")
    pieces = 0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
        pieces += 1
    writer.close()
    return pieces


async def measure(pid: int, port: int, given: argparse.Namespace) -> tuple[list[Sample], float]:
    """The samples, and the events that were sealed together, on average."""
    await asyncio.sleep(1.1)  # dates of the second in which the gateway started are refused
    samples, pieces = [], 0
    for turn in range(given.rounds + 1):
        unit, before = x25519_us(), cpu_seconds(pid)
        seen = await asyncio.gather(*(stream(port) for _ in range(given.streams)))
        spent = (cpu_seconds(pid) - before) / (given.streams * given.events) * 1e6
        if turn:  # the first warms up
            samples.append((spent, (unit + x25519_us()) / 2))
            pieces += sum(seen)
    return samples, given.rounds * given.streams * given.events / pieces


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--streams", type=int, default=8, help="at once")
    parser.add_argument("--events", type=int, default=250, help="in a stream")
    parser.add_argument("--chat-seconds", type=float, default=5, help="of each rate; 0: no chat streams")
    parser.add_argument("--chat-streams", type=int, default=40, help="at once")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--chat-engine", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        uvloop.run(engine(given.engine, given.events))
        return
    if given.chat_engine:
        uvloop.run(served(streaming_chat.answer, given.chat_engine))
        return
    chat = chat_figures(given)
    on_one_processor()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "engine.sock")
        command = [sys.executable, __file__, "--engine", path, "--events", str(given.events)]
        with started(command, stdout=subprocess.PIPE) as behind:
            assert behind.stdout is not None
            behind.stdout.readline()
            with bench.role("receipt", path) as (pid, port):
                samples, together = uvloop.run(measure(pid, port, given))
                peak = peak_rss_mib(pid)
    units = sorted(unit for _, unit in samples)
    print(f"one X25519 exchange: {units[len(units) // 2]:.1f} us ({units[0]:.1f} to {units[-1]:.1f})")
    print(f"one event of {len(EVENT)} bytes, {together:.2f} sealed together: {spread(samples)}")
    unit = round(units[len(units) // 2], 1)
    figures = {"x25519_us": unit, "event_x": ratio(samples), "events_together": round(together, 2)}
    print(json.dumps(figures | {"peak_rss_mib": round(peak, 1), "chat": chat}))


def chat_figures(given: argparse.Namespace) -> dict[str, object]:
    """What chat streams show; measured first, while this process may use every processor."""
    if not given.chat_seconds:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "engine.sock")
        with started([sys.executable, __file__, "--chat-engine", path], stdout=subprocess.PIPE) as behind:
            assert behind.stdout is not None
            behind.stdout.readline()
            found: dict[str, object] = streaming_chat.run(
                path, Path(folder), streams=given.chat_streams, seconds=given.chat_seconds
            )
            return found


if __name__ == "__main__":
    main()
