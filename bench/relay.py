"""What one relay worker pays to forward a request of 1 KiB, in units of one X25519 exchange timed in the same run.

    PYTHONPATH=src python bench/relay.py [--rounds 12] [--requests 4000] [--clients 16]

The relay is the service as it is deployed, a process of its own with its limits on; a gateway that only answers, and
clients that keep their connections, are processes beside it, all on one processor. Rounds of it and of the unit are
interleaved, so that a machine that slows down slows both. Times are CPU time of the relay's process, user and system.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from measured import Sample, cpu_seconds, on_one_processor, ratio, spread, started, x25519_us

REQUEST = bytes(1024 + 55)  # 1 KiB sealed with X25519 and AES-128-GCM
ANSWER = bytes(1024 + 32)
ASKED = (
    b"POST /gateway HTTP/1.1\r\nHost: 127.0.0.1:8400\r\nContent-Type: message/ohttp-req\r\nAccept: */*\r\n"
    b"Accept-Encoding: identity\r\nContent-Length: %d\r\n\r\n" % len(REQUEST)
) + REQUEST
ANSWERED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-res\r\ncache-control: no-store\r\n"
    b"date: Sat, 21 Nov 2026 12:00:00 GMT\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
) + ANSWER
SETTINGS = "client_rate = 1e6\nclient_burst = 1_000_000\n"  # all limits are on, and these clients are one
FORWARDED = len(REQUEST)  # a request is whole when its body is; its head ends in an empty line


class Gateway(asyncio.Protocol):
    """Answers every request at once with the same bytes."""

    def connection_made(self, transport):
        self.transport, self.left = transport, b""

    def data_received(self, data):
        self.left += data
        end = self.left.find(b"\r\n\r\n")
        while end >= 0 and len(self.left) >= end + 4 + FORWARDED:
            self.left = self.left[end + 4 + FORWARDED :]
            self.transport.write(ANSWERED)
            end = self.left.find(b"\r\n\r\n")


class Client(asyncio.Protocol):
    """Asks again when the answer is whole, until told to stop."""

    def __init__(self, load):
        self.load = load

    def connection_made(self, transport):
        self.transport = transport

    def ask(self):
        if self.load.left:
            self.load.left -= 1
            self.seen = b""
            self.transport.write(ASKED)
        else:
            self.load.ended()

    def data_received(self, data):
        self.seen += data
        end = self.seen.find(b"\r\n\r\n")
        if end >= 0 and len(self.seen) == end + 4 + len(ANSWER):
            if not self.seen.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"the relay refused: {self.seen[:500]!r}")
            self.ask()

    def connection_lost(self, error):
        self.load.ended()


class Load:
    """Some clients with kept connections, and how many requests they have yet to make."""

    def __init__(self, port, clients):
        self.port, self.clients, self.left, self.running = port, clients, 0, 0
        self.connections = []

    async def connect(self):
        loop = asyncio.get_running_loop()
        for _ in range(self.clients):
            self.connections.append((await loop.create_connection(lambda: Client(self), "127.0.0.1", self.port))[1])

    async def run(self, requests):
        self.left, self.running = requests, self.clients
        self.done = asyncio.get_running_loop().create_future()
        for connection in self.connections:
            connection.ask()
        await self.done

    def ended(self):
        self.running -= 1
        if self.running == 0:
            self.done.set_result(None)


def gateway() -> None:
    """Serve `Gateway` and print the port."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Gateway, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(main())


@contextlib.contextmanager
def relay(folder: Path) -> Iterator[tuple[int, int]]:
    """A gateway, and a relay before it: the relay's process id and port."""
    with started([sys.executable, __file__, "--gateway"], stdout=subprocess.PIPE) as upstream:
        assert upstream.stdout is not None
        url = f"http://127.0.0.1:{int(upstream.stdout.readline())}/gateway"
        ready, config = folder / "ready", folder / "relay.toml"
        config.write_text(
            f'port = 0\nbundle_urls = ["{url}"]\ngateway_urls = ["{url}"]\nready = "{ready}"\n' + SETTINGS
        )
        command = [sys.executable, "-m", "cloister", "service", "relay", "--config", str(config)]
        with started(command) as process:
            while not ready.exists():
                if process.poll() is not None:
                    raise SystemExit("the relay did not start")
                time.sleep(0.02)
            yield process.pid, int(ready.read_text())


async def measure(pid: int, port: int, *, rounds: int, requests: int, clients: int) -> list[Sample]:
    """Of each round: microseconds of CPU a request, and of one exchange beside it."""
    load = Load(port, clients)
    await load.connect()
    await load.run(requests)  # warm
    figures: list[Sample] = []
    for _ in range(rounds):
        before_unit = x25519_us(400)
        before = cpu_seconds(pid)
        await load.run(requests)
        spent = (cpu_seconds(pid) - before) / requests * 1e6
        figures.append((spent, (before_unit + x25519_us(400)) / 2))
    return figures


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--requests", type=int, default=4000, help="in a round")
    parser.add_argument("--clients", type=int, default=16, help="connections")
    parser.add_argument("--gateway", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.gateway:
        gateway()
        return
    on_one_processor()
    with tempfile.TemporaryDirectory() as folder, relay(Path(folder)) as (pid, port):
        run = measure(pid, port, rounds=given.rounds, requests=given.requests, clients=given.clients)
        figures = uvloop.run(run)
    ratios = [cost / unit for cost, unit in figures]
    unit = statistics.median(one for _, one in figures)
    print(f"one X25519 exchange: {unit:.1f} us")
    print(f"one request of {len(REQUEST):,} bytes forwarded, {len(ANSWER):,} back: {spread(figures)}")
    print(
        json.dumps(
            {
                "x25519_us": round(unit, 1),
                "forward_us": round(statistics.median(cost for cost, _ in figures), 1),
                "forward_x": ratio(figures),
                "forward_x_range": [round(min(ratios), 2), round(max(ratios), 2)],
            }
        )
    )


if __name__ == "__main__":
    main()
