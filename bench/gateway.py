"""What one gateway worker pays for a request, in units of one X25519 exchange timed in the same run.

    PYTHONPATH=src python bench/gateway.py [--rounds 8] [--clients 8]

The gateway is a process of its own with replay table, limits and metrics on; its engine, another process, only answers
on a unix socket; clients keep their connections and seal beforehand. Every request is sealed afresh, or the replay
table would refuse it. All run on one processor, and rounds of all cases are interleaved with the unit, so that a
machine that slows down slows all. Times are CPU time of the gateway, user and system. `peak_rss_mib` is the gateway's
at the end, its replay table among it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import uvloop
from measured import Sample, cpu_seconds, on_one_processor, peak_rss_mib, ratio, spread, started, x25519_us

from cloister.crypto.hpke import X25519_HKDF_SHA256, X_WING, KemPrivateKey
from cloister.crypto.signing import SigningKey
from cloister.formats.binary_http import Request, encode
from cloister.formats.contract import Endpoint
from cloister.formats.key_config import KeyConfig
from cloister.hosting.loopback import listen, port_of, run_until_stopped
from cloister.ohttp.encapsulation import UnknownKey, encapsulate_request
from cloister.secret import SecretBytes
from cloister.services.gateway.control import HeldKey, Setup, State
from cloister.services.gateway.crew import Crew
from cloister.services.gateway.data_plane import DataPlaneLimits, build_gateway, serve_gateway
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.exchange import Receipts
from cloister.services.gateway.inside import Endpoints
from cloister.services.gateway.keys import GatewayKey, KeyRing
from cloister.services.gateway.receipts import SignedReceipts
from cloister.services.gateway.replay import ReplayTable
from cloister.services.gateway.shared_counts import SharedMetrics

SEEDS = {7: (X25519_HKDF_SHA256, bytes(range(32))), 8: (X_WING, bytes(range(1, 33)))}  # of a bench, so no secret
KEYS = {key_id: KemPrivateKey.from_bytes(kem, SecretBytes(seed)) for key_id, (kem, seed) in SEEDS.items()}
ENDPOINT = Endpoint(method="POST", path="/v1/audio/transcriptions")
KIB, MIB = 1024, 1024 * 1024
ANSWER = b"x" * 900  # 1 KiB once it has its head and padding
ANSWERED = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER


@dataclass
class Case:
    """One kind of request, and what its rounds showed."""

    name: str
    key_id: int
    size: int  # bytes of the inner body
    requests: int  # a round
    receipts: bool = False
    clients: int = 0  # at once; 0: as many as asked for
    samples: list[Sample] = field(default_factory=list)


CASES = (
    Case("request_1k_x", 7, KIB, 1500),
    Case("request_1k_hybrid_x", 8, KIB, 1000),
    Case("request_1k_receipt_x", 7, KIB, 1000, receipts=True),
    Case("upload_1m_x", 7, MIB, 32, clients=2),
    Case("upload_25m_x", 7, 25 * MIB, 2, clients=1),
)


class Engine(asyncio.Protocol):
    """Answers every whole request with the same bytes."""

    def connection_made(self, transport):
        self.transport, self.left, self.head = transport, 0, b""

    def data_received(self, data):
        if self.left == 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            length = self.head[:end].lower().split(b"content-length:")[1].split(b"\r\n")[0]
            data, self.left = self.head[end:], int(length)
            self.head = b""
        self.left -= len(data)
        if self.left == 0:
            self.transport.write(ANSWERED)


class Client(asyncio.Protocol):
    """Sends the next sealed request when the answer before it is whole."""

    def __init__(self, load):
        self.load, self.seen = load, b""

    def connection_made(self, transport):
        self.transport = transport

    def ask(self):
        if self.load.sealed:
            head, body = self.load.sealed.pop()
            self.transport.writelines([head, body])
        else:
            self.load.ended()

    def data_received(self, data):
        self.seen += data
        head, end, body = self.seen.partition(b"\r\n\r\n")
        if end and len(body) == int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
            if not head.startswith(b"HTTP/1.1 200 ") or b"message/ohttp-res" not in head:
                raise SystemExit(f"the gateway refused: {self.seen[:500]!r}")
            self.seen = b""
            self.ask()

    def connection_lost(self, error):
        self.load.ended()


class Load:
    """Clients with kept connections, and the sealed requests that they have yet to send."""

    def __init__(self, port, clients):
        self.port, self.clients, self.sealed, self.running = port, clients, [], 0
        self.connections = []

    async def connect(self):
        loop = asyncio.get_running_loop()
        for _ in range(self.clients):
            self.connections.append((await loop.create_connection(lambda: Client(self), "127.0.0.1", self.port))[1])

    async def run(self, sealed, clients):
        using = self.connections[: clients or self.clients]
        self.sealed, self.running = sealed, len(using)
        self.done = asyncio.get_running_loop().create_future()
        for connection in using:
            connection.ask()
        await self.done

    def ended(self):
        self.running -= 1
        if self.running == 0:
            self.done.set_result(None)


def sealed_requests(case: Case, count: int) -> list[tuple[bytes, bytes]]:
    key = KEYS[case.key_id]
    config = KeyConfig(case.key_id, key.kem, key.public)
    headers = (("content-type", "audio/wav"), ("date", formatdate(time.time(), usegmt=True)))
    inner = encode(Request("POST", "https", "gateway", ENDPOINT.path, headers, bytes(case.size)))
    made = []
    for _ in range(count):
        body, _ = encapsulate_request(config, inner)
        head = (
            b"POST /gateway HTTP/1.1\r\nhost: gateway\r\ncontent-type: message/ohttp-req\r\ncontent-length: %d\r\n\r\n"
        )
        made.append((head % len(body), body))
    return made


class Held:
    """The bench's keys, held from the start."""

    def held(self, key_id):
        key = KEYS.get(key_id)
        return None if key is None else GatewayKey(key_id, key, bytes(32), 2**40, bytes(32), Endpoints((ENDPOINT,)))

    async def key_for(self, key_id):
        raise UnknownKey(f"no key {key_id}")


class NoReceipts:
    """What receipts cost is told apart."""

    def begin(self, method, path, headers):
        return self

    def request(self, piece):
        pass

    def asked(self):
        pass

    def answer(self, piece):
        pass

    def forget_answer(self):
        pass

    def fields(self, key, status):
        return ()


def crew(workers: int, engine_path: str) -> None:
    """Be the first process of a gateway with so many workers; print the port."""
    listener = listen("127.0.0.1", 0)
    limits = DataPlaneLimits()
    replays = ReplayTable(window_seconds=300, capacity=limits.replay_entries, started=int(time.time()))
    keys = tuple(
        HeldKey(key_id, *SEEDS[key_id], bytes([key_id]) * 32, 2**40, bytes(32), (ENDPOINT,)) for key_id in SEEDS
    )
    engines = (str(Path(engine_path).parent),)
    state = State(keys=keys, witnessed=0, missing=(), engines=engines)
    setup = Setup(
        worker=0,
        workers=workers,
        at_once=max(1, len(os.sched_getaffinity(0)) // workers),
        listener=listener.fileno(),
        replays=replays.descriptor,
        counts=SharedMetrics(workers=workers).descriptor,
        sign_seed=bytes(32),
        tls=None,
        window_seconds=300,
        replay_entries=limits.replay_entries,
        request_bytes=limits.http.body_bytes,
        waiting_requests=256,
        waiting_seconds=30,
        engine_seconds=60,
        log_level="error",
        about={},
        grace_seconds=1.0,
    )
    members = Crew(setup, keys=KeyRing(Held(), now=time.time), state=lambda: state)

    async def run(stop: asyncio.Event) -> None:
        running = asyncio.create_task(members.run(stop, ready=lambda: None))
        while len(members.serving) < workers:  # noqa: ASYNC110 - told over a socket
            await asyncio.sleep(0.05)
        print(port_of(listener), flush=True)
        await running

    run_until_stopped(run)


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def serve(role: str, engine_path: str) -> None:
    """Be the engine, or a gateway with or without receipts; print the port."""
    if role.startswith("crew"):
        crew(int(role[-1]), engine_path)
        return

    async def engine() -> None:
        server = await asyncio.get_running_loop().create_unix_server(Engine, engine_path)
        print(0, flush=True)
        await server.serve_forever()

    async def gateway() -> None:
        receipts: Receipts = SignedReceipts(SigningKey.generate(), clock=time.time)
        if role == "plain":
            receipts = NoReceipts()
        limits, engine = DataPlaneLimits(), SocketEngine(engine_path, connections=64)
        served = build_gateway(Held(), engine, receipts, now=time.time, limits=limits)
        await serve_gateway(served, listen("127.0.0.1", 0), asyncio.Event(), ready=1)

    uvloop.run(engine() if role == "engine" else gateway())


@contextlib.contextmanager
def role(name: str, engine_path: str) -> Iterator[tuple[int, int]]:
    """A process of this file in that role: its id and port."""
    with started(
        [sys.executable, __file__, "--role", name, "--engine", engine_path], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())


async def measure(gateways: dict[bool, tuple[int, int]], *, rounds: int, clients: int) -> None:
    """Fill the samples of `CASES`."""
    loads = {}
    for with_receipts, (_, port) in gateways.items():
        loads[with_receipts] = Load(port, clients)
        await loads[with_receipts].connect()
    await asyncio.sleep(1.1)  # dates of the second in which the gateway started are refused
    for turn in range(rounds + 1):
        for case in CASES:
            sealed = sealed_requests(case, case.requests)
            pid = gateways[case.receipts][0]
            unit, before = x25519_us(), cpu_seconds(pid)
            await loads[case.receipts].run(sealed, case.clients)
            spent = (cpu_seconds(pid) - before) / case.requests * 1e6
            if turn:  # the first warms up
                case.samples.append((spent, (unit + x25519_us()) / 2))


async def measure_workers(crews: dict[int, tuple[int, int]], *, rounds: int, clients: int) -> dict[int, list[Sample]]:
    """What a request of 1 KiB costs all workers together, of crews of different sizes in turn."""
    loads = {workers: Load(port, clients) for workers, (_, port) in crews.items()}
    samples: dict[int, list[Sample]] = {workers: [] for workers in crews}
    for load in loads.values():
        await load.connect()
    await asyncio.sleep(1.1)
    for turn in range(rounds + 1):
        for workers, (pid, _) in crews.items():
            sealed = sealed_requests(CASES[0], 1000)
            unit, before = x25519_us(), sum(map(cpu_seconds, children(pid)))
            await loads[workers].run(sealed, 0)
            spent = (sum(map(cpu_seconds, children(pid))) - before) / 1000 * 1e6
            if turn:
                samples[workers].append((spent, (unit + x25519_us()) / 2))
    return samples


def main() -> None:
    """Measure, print a line each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--clients", type=int, default=8, help="connections")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role:
        serve(given.role, given.engine)
        return
    on_one_processor()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = str(Path(folder) / "engine.sock")
        stack.enter_context(role("engine", path))
        gateways = {
            receipt: stack.enter_context(role("receipt" if receipt else "plain", path)) for receipt in (False, True)
        }
        uvloop.run(measure(gateways, rounds=given.rounds, clients=given.clients))
        peak = max(peak_rss_mib(pid) for pid, _ in gateways.values())
        crews = {workers: stack.enter_context(role(f"crew-{workers}", path)) for workers in (1, 2)}
        shared = uvloop.run(measure_workers(crews, rounds=given.rounds, clients=given.clients))
    units = sorted(unit for case in CASES for _, unit in case.samples)
    print(f"one X25519 exchange: {units[len(units) // 2]:.1f} us ({units[0]:.1f} to {units[-1]:.1f})")
    for case in CASES:
        print(f"{case.name}: {spread(case.samples)}")
    for workers, samples in shared.items():
        print(f"request_1k_receipt_x with {workers} worker processes: {spread(samples)}")
    figures = {case.name: ratio(case.samples) for case in CASES}
    figures["two_workers_to_one"] = round(ratio(shared[2]) / ratio(shared[1]), 2)
    print(json.dumps({"x25519_us": round(units[len(units) // 2], 1), **figures, "peak_rss_mib": round(peak, 1)}))


if __name__ == "__main__":
    main()
