"""A system over many processes: three witnesses, two ledger front ends on PostgreSQL, two KMS replicas, two gateways.

Each is forked from a server that has loaded the code, on a port of its own for good, so that what is killed comes back
where it was. The engines are trivial ones within the gateways' processes; they write down each thing they were asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from pathlib import Path

from tests.doubles.postgresql import free_port
from tests.doubles.recording_engine import Record

from cloister.crypto.signing import SigningKey
from cloister.formats.binary_http import Response
from cloister.formats.checkpoint import COSIGNATURE_V1, ED25519, format_vkey
from cloister.formats.constitution import Witness, parse_constitution
from cloister.formats.contract import parse_contract
from cloister.hosting.database_settings import DatabaseSettings
from cloister.hosting.loopback import LOOPBACK, listen
from cloister.ledger.statements import open_statement
from cloister.node.entries_file import read_entries
from cloister.node.keys import NodeSecrets
from cloister.node.witnessed_clock import WitnessedClock
from cloister.peers.failover import Failover
from cloister.peers.kms import KmsClient
from cloister.services.gateway.data_plane import serve_gateway
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.kms_keys import KmsKeys
from cloister.services.gateway.service import assemble
from cloister.services.kms.security import KmsSecurity
from cloister.services.kms.service import serve_kms, wall_clock
from cloister.services.kms.settings import KmsSettings
from cloister.services.ledger.service import serve_ledger
from cloister.services.ledger.settings import LedgerSettings, WitnessAddress
from cloister.services.relay.service import serve_relay
from cloister.services.relay.settings import RelaySettings
from cloister.services.witness.service import serve_witness
from cloister.services.witness.settings import WitnessSettings
from cloister.storage.key_file import read_signing_key
from cloister.testing.local_papers import ORIGIN
from cloister.testing.local_system import LocalSystem
from cloister.testing.served_engine import served_engine

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "uvloop", __name__])
WITNESSES, FRONT_ENDS, REPLICAS, GATEWAYS = (
    tuple(f"{name}-{number}" for number in range(1, count + 1))
    for name, count in (("witness", 3), ("ledger", 2), ("kms", 2), ("gateway", 2))
)
ORDER = (*WITNESSES, *FRONT_ENDS, *REPLICAS, *GATEWAYS, "relay")
KEYS = {"log": "log_key", "platform": "platform_key", "owner": "owner", "operator": "operator"}
# An epoch of seconds, so that one ends while a test looks.
SECURITY = KmsSecurity(head_seconds=2, epoch_seconds=20, pending_seconds=8, stale_seconds=15)
START_SECONDS = 60.0


class ManyMachines(LocalSystem):
    """The papers of the system: three witnesses, of whom two have to have seen everything."""

    def make_constitution(self):
        """As ever, with these witnesses."""
        self.witness_keys = {name: self._key(name) for name in WITNESSES}
        named = tuple(Witness(name=f"{name}.local", key=key.public) for name, key in self.witness_keys.items())
        return type(usual := super().make_constitution())(
            **{name: getattr(usual, name) for name in usual.__struct_fields__} | {"witnesses": named, "quorum": 2}
        )

    def _key(self, name):
        path = self.folder / f"{name}.seed"
        if not path.exists():
            self.write_key(name, SigningKey.generate())
        return read_signing_key(path)


class Machines:
    """The system, and its processes by name. `async with`: none of them outlives it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.system = ManyMachines(folder, kms_security=SECURITY)
        self.engine = Record(folder)
        for name, key in KEYS.items():
            self.system.write_key(name, getattr(self.system, key))
        self.system.write_papers()
        self.system.ports.update({name: free_port() for name in ORDER})
        self._database_url = database_url
        self._running: dict[str, multiprocessing.process.BaseProcess] = {}

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_raised):
        for name in reversed(list(self._running)):
            await self.kill(name)

    async def start(self, name):
        """Start it where it was before, and wait until it serves."""
        said = self.system.folder / f"{name}.ready"
        await asyncio.to_thread(said.unlink, missing_ok=True)
        arguments = (name, self.system.folder, dict(self.system.ports), self._database_url)
        process = FORKS.Process(target=live, args=arguments, daemon=True)
        await asyncio.to_thread(process.start)
        self._running[name] = process
        async with asyncio.timeout(START_SECONDS):
            while not said.exists():
                assert process.is_alive(), (self.system.folder / f"{name}.log").read_text()[-2000:]
                await asyncio.sleep(0.02)

    async def kill(self, name):
        """`kill -9`."""
        process = self._running.pop(name)
        process.kill()
        await asyncio.to_thread(process.join)

    def stand_still(self, name):
        os.kill(self._running[name].pid or 0, signal.SIGSTOP)

    def go_on(self, name):
        os.kill(self._running[name].pid or 0, signal.SIGCONT)

    def said(self, name):
        """What a process wrote, to be shown where something went wrong."""
        return (self.system.folder / f"{name}.log").read_text()


def live(name, folder, ports, database_url):
    """The life of one process."""
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    system = _reopened(folder)
    system.ports.update(ports)
    start = STARTS[name.partition("-")[0]]
    asyncio.run(start(system, name, folder / f"{name}.ready", database_url))


async def _witness(system, name, ready, _database_url):
    settings = WitnessSettings(
        port=system.ports[name],
        folder=system.folder / name,
        name=f"{name}.local",
        key=system.folder / f"{name}.seed",
        logs=(format_vkey(ORIGIN, system.log_key.public, kind=ED25519),),
        ready=ready,
    )
    await serve_witness(settings, asyncio.Event())


async def _ledger(system, name, ready, database_url):
    witnesses = tuple(
        WitnessAddress(vkey=format_vkey(f"{witness}.local", key.public, kind=COSIGNATURE_V1), url=system.url(witness))
        for witness, key in system.witness_keys.items()
    )
    settings = LedgerSettings(
        port=system.ports[name],
        folder=system.folder / name,
        origin=ORIGIN,
        key=system.folder / "log.seed",
        witnesses=witnesses,
        quorum=2,
        database=DatabaseSettings(url=database_url, connect_seconds=2, answer_seconds=4),
        witness_seconds=2,
        ready=ready,
    )
    await serve_ledger(settings, asyncio.Event())


async def _kms(system, name, ready, _database_url):
    settings = KmsSettings(
        port=system.ports[name],
        ledger_urls=tuple(system.url(one) for one in FRONT_ENDS),
        constitution=system.folder / "constitution.entries",
        contracts=(system.folder / "contract.entries",),
        platform_key=system.folder / "platform.seed",
        replicas=tuple(system.url(one) for one in REPLICAS if one != name),
        follow_seconds=0.2,
        security=SECURITY,
        ready=ready,
    )
    await serve_kms(settings, system.tee, asyncio.Event(), clock=wall_clock)


class RecordingEngine:
    """Answers what it was asked, once it has written that down."""

    def __init__(self, folder: Path) -> None:
        self._record = Record(folder)

    async def ask(self, request, *, seconds):
        self._record.note(request.body)
        return Response(200, (("content-type", "text/plain"),), request.body)


async def _gateway(system, name, ready, _database_url):
    system.secrets = NodeSecrets.generate()  # each its own
    clock = WitnessedClock(system.gateway_clock)
    async with contextlib.AsyncExitStack() as stack:
        clients = [KmsClient(system.url(one)) for one in REPLICAS]
        kms = Failover([await stack.enter_async_context(client) for client in clients])
        path = await stack.enter_async_context(served_engine(RecordingEngine(system.folder)))
        engine = SocketEngine(path)
        stack.push_async_callback(engine.close)
        node = system.gateway_node()
        keys = KmsKeys(kms, node, clock=clock)
        gateway = assemble(node, keys, engine, system.gateway_security, clock=clock)
        fetching = asyncio.create_task(keys.keep_fetching(seconds=1.0))
        stack.callback(fetching.cancel)
        while keys.missing():  # noqa: ASYNC110 - the KMS sets no event here
            await asyncio.sleep(0.05)
        await serve_gateway(gateway, listen(LOOPBACK, system.ports[name]), asyncio.Event(), ready=ready)


async def _relay(system, name, ready, _database_url):
    line = system.contract.digest().hex()
    settings = RelaySettings(
        port=system.ports[name],
        bundle_urls=tuple(f"{system.url(one)}/bundles/{line}" for one in REPLICAS),
        gateway_urls=tuple(f"{system.url(one)}/gateway" for one in GATEWAYS),
        client_rate=100_000,
        client_burst=100_000,
        gateway_seconds=5,
        bundle_seconds=3,
        ready=ready,
    )
    await serve_relay(settings, asyncio.Event())


STARTS = {"witness": _witness, "ledger": _ledger, "kms": _kms, "gateway": _gateway, "relay": _relay}


def _reopened(folder):
    """The system that was written to this folder."""
    system = ManyMachines(folder, kms_security=SECURITY)
    for file, name in KEYS.items():
        setattr(system, name, read_signing_key(folder / f"{file}.seed"))
    (genesis,), (contract,) = (read_entries(folder / f"{name}.entries") for name in ("constitution", "contract"))
    system.constitution = parse_constitution(open_statement(genesis).payload)
    system.contract = parse_contract(open_statement(contract).payload)
    return system
