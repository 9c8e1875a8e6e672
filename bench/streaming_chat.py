"""Chat streams at a given number of events a second, over the whole path: engine, gateway, relay, client.

Each is one process; none is kept to one processor. Every event carries its number and the time at which the engine
wrote it, so that what was lost, and what it was late by, is known. The same streams are read straight from the engine
beside it: what this machine can do without Cloister, in the same minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gateway as bench
import uvloop
from measured import cpu_seconds, started
from traffic_capture import CLEAR, HEAD, Chunks, Opened, request

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1800000000,"model":"m","number":%d,'
    b'"written":%.6f,"choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
)


@dataclass
class Read:
    """What the clients of one rate had."""

    numbers: int = 0  # events that came in their order
    lost: int = 0
    late: list[float] = field(default_factory=list)  # seconds since the engine wrote one
    writes: int = 0  # of the gateway's
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)  # seconds, by process

    @property
    def per_second(self) -> float:
        return self.numbers / self.seconds


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An engine's side of a connection: as many events as are asked for, at their times, each in its own write."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            asked = json.loads(await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0])))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        writer.write(ANSWER)
        begun = loop.time()
        for number in range(asked["events"]):
            if (wait := begun + number / asked["rate"] - loop.time()) > 0:
                await asyncio.sleep(wait)
            event = EVENT % (number, time.monotonic())
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
        writer.write(b"0\r\n\r\n")


@contextlib.contextmanager
def relay(gateway: int, folder: Path) -> Iterator[tuple[int, int]]:
    """A relay before the gateway's port: its process and port."""
    ready, config = folder / "ready", folder / "relay.toml"
    url = f"http://127.0.0.1:{gateway}/gateway"
    config.write_text(
        f'port = 0\nbundle_urls = ["{url}"]\ngateway_urls = ["{url}"]\nready = "{ready}"\n'
        'client_rate = 1e6\nclient_burst = 1_000_000\nlog_level = "error"\n'
    )
    with started([sys.executable, "-m", "cloister", "service", "relay", "--config", str(config)]) as process:
        while not ready.exists():
            if process.poll() is not None:
                raise SystemExit("the relay did not start")
            time.sleep(0.05)
        yield process.pid, int(ready.read_text())


async def read_stream(found: Read, engine: str | None, port: int, asked: dict[str, float]) -> None:
    """One stream, from the engine's socket or through the relay at `port`."""
    body = json.dumps(asked).encode()
    if engine is not None:
        reader, writer = await asyncio.open_unix_connection(engine)
        opened, message = None, CLEAR % len(body) + body
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sealed, opener = request(body, strict=False)
        opened, message = Opened(opener, strict=False), HEAD % len(sealed) + sealed
    writer.write(message)
    chunks, held, expected = Chunks(), b"", 0
    while not (chunks.ended if opened is None else opened.body.ended):
        data = await reader.read(262_144)
        if not data:
            raise SystemExit("an answer broke off")
        pieces = chunks.feed(data) if opened is None else opened.feed(data)
        held += b"".join(pieces)
        *events, held = held.split(b"\n\n")
        now = time.monotonic()
        for event in events:
            number, written, _ = event.partition(b'"number":')[2].split(b",", 2)
            found.lost += int(number) != expected
            expected = int(number) + 1
            found.late.append(now - float(written.partition(b":")[2]))
            found.numbers += 1
    found.lost += int(asked["events"]) - expected
    found.writes += 0 if opened is None else opened.writes
    writer.close()


async def at_rate(
    engine: str | None, port: int, pids: dict[str, int], *, rate: int, streams: int, seconds: float
) -> Read:
    """So many events a second, spread over the streams."""
    found, asked = Read(), {"rate": rate / streams, "events": int(rate / streams * seconds)}
    own = time.process_time()
    before, begun = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
    await asyncio.gather(*(read_stream(found, engine, port, asked) for _ in range(streams)))
    found.seconds = time.monotonic() - begun
    found.cpu = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    found.cpu["all clients"] = time.process_time() - own
    return found


async def measure(engine: str, port: int, pids: dict[str, int], *, streams: int, seconds: float) -> dict[str, object]:
    """Print a line for each rate, raw and through the path; the figures."""
    await asyncio.sleep(1.1)  # dates of the second in which the gateway started are refused
    figures: dict[str, object] = {}
    for rate in (5_000, 20_000):
        raw = await at_rate(engine, port, {}, rate=rate, streams=streams, seconds=seconds)
        path = await at_rate(None, port, pids, rate=rate, streams=streams, seconds=seconds)
        figures[str(rate)] = told(raw, path)
        print(f"{rate:,} events/s asked: raw {line(raw)}; through gateway and relay {line(path)}, " + costs(path))
    return figures


def told(raw: Read, path: Read) -> dict[str, object]:
    """One rate's figures."""
    return {
        "raw_per_s": round(raw.per_second),
        "per_s": round(path.per_second),
        "of_raw": round(path.per_second / raw.per_second, 3),
        "lost": path.lost,
        "late_ms": round(statistics.median(path.late) * 1000, 2),
        "raw_late_ms": round(statistics.median(raw.late) * 1000, 2),
        "events_a_write": round(path.numbers / path.writes, 2),
        **{f"{name.replace(' ', '_')}_us": round(spent / path.numbers * 1e6, 1) for name, spent in path.cpu.items()},
    }


def line(read: Read) -> str:
    """For a person."""
    late = sorted(read.late)
    return (
        f"{read.per_second:,.0f} events/s, {read.lost} lost, late by {statistics.median(late) * 1000:.1f} ms "
        f"(p99 {late[len(late) * 99 // 100] * 1000:.1f})"
    )


def costs(read: Read) -> str:
    """What an event cost each process."""
    spent = ", ".join(f"{name} {seconds / read.numbers * 1e6:.1f} us" for name, seconds in read.cpu.items())
    return f"{read.numbers / read.writes:.2f} events sealed in one write; CPU an event: {spent}"


def run(engine: str, folder: Path, *, streams: int, seconds: float) -> dict[str, object]:
    """Start gateway and relay, and measure."""
    with bench.role("receipt", engine) as (gateway, port), relay(port, folder) as (relayed, relay_port):
        pids = {"gateway": gateway, "relay": relayed}
        return uvloop.run(measure(engine, relay_port, pids, streams=streams, seconds=seconds))
