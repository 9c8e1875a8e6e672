"""A local system whose services, engine included, are processes of their own, to be killed and held up.

They are forked from a server that has loaded the code, so a start takes a moment; what they do is what the services do.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.doubles import deadly_steps, recording_engine

from cloister.formats.constitution import parse_constitution
from cloister.formats.contract import parse_contract
from cloister.ledger.statements import open_statement
from cloister.node.entries_file import read_entries
from cloister.services.gateway.engine import SocketEngine
from cloister.services.gateway.engines import QueueLimits
from cloister.services.kms.security import KmsSecurity
from cloister.storage.key_file import read_signing_key
from cloister.testing.local_system import LocalSystem

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "uvloop", __name__])
ORDER = ("engine", "witness", "ledger", "kms", "gateway", "relay")
LIMITS = {"engine": 1.0, "gateway": 3.5, "relay": 5.0}  # seconds; each longer than those behind it
START_SECONDS = 30.0
KEYS = {
    "log": "log_key",
    "witness": "witness_key",
    "platform": "platform_key",
    "owner": "owner",
    "operator": "operator",
}
SECURITY = KmsSecurity(head_seconds=2)


class SystemProcesses:
    """The system, and its processes by name. `async with`: none of them outlives it."""

    def __init__(self, folder: Path) -> None:
        self.system = LocalSystem(folder, kms_security=SECURITY)
        self.engine = recording_engine.Record(folder)
        for name, key in KEYS.items():
            self.system.write_key(name, getattr(self.system, key))
        self.system.write_papers()
        self._running: dict[str, EngineProcess | multiprocessing.process.BaseProcess] = {}

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_raised):
        for name in reversed(list(self._running)):
            await self.kill(name)

    async def start_all(self):
        for name in ORDER:
            await self.start(name)

    async def start(self, name, *, kill_at=None):
        """Start it, where it was before if it was; `kill_at`: it kills itself at that step of `deadly_steps`."""
        said = self.system.folder / f"{name}.serving"
        await asyncio.to_thread(said.unlink, missing_ok=True)
        process: EngineProcess | multiprocessing.process.BaseProcess
        if name == "engine":
            process = EngineProcess(self.system.folder)
        else:
            arguments = (name, self.system.folder, dict(self.system.ports), kill_at)
            process = FORKS.Process(target=live, args=arguments, daemon=True)
        await asyncio.to_thread(process.start)
        self._running[name] = process
        async with asyncio.timeout(START_SECONDS):
            while process.is_alive() and not said.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
        if said.exists():
            self.system.ports[name] = int(await asyncio.to_thread(said.read_text))
        return said.exists()

    async def kill(self, name):
        """`kill -9`."""
        process = self._running.pop(name, None)
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.join)

    async def ended(self, name):
        """Its exit status, once it has ended by itself: minus the signal that killed it."""
        process = self._running.pop(name)
        await asyncio.to_thread(process.join, START_SECONDS)
        return process.exitcode

    def lives(self, name):
        return self._running[name].is_alive()

    def stand_still(self, name):
        os.kill(self._pid(name), signal.SIGSTOP)

    def go_on(self, name):
        os.kill(self._pid(name), signal.SIGCONT)

    def _pid(self, name):
        pid = self._running[name].pid
        assert pid is not None
        return pid


class EngineProcess:
    """The engine: a program that loads little, since it forks for each request; told to as the others are."""

    def __init__(self, folder):
        self._folder = folder

    def start(self):
        command = [sys.executable, "-B", recording_engine.__file__, str(self._folder)]
        self._process = subprocess.Popen(command, env={"PYTHONPATH": "src"})

    def is_alive(self):
        return self._process.poll() is None

    def kill(self):
        self._process.kill()

    def join(self, timeout=None):
        self._process.wait(timeout)

    @property
    def pid(self):
        return self._process.pid

    @property
    def exitcode(self):
        return self._process.poll()


def live(name, folder, ports, kill_at):
    """The life of one process."""
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    serving = functools.partial(recording_engine.tell, folder / f"{name}.serving")
    system = _reopened(folder)
    system.ports.update(ports)
    asyncio.run(_serve(name, system, kill_at, serving))


async def _serve(name, system, kill_at, serving):
    async with contextlib.AsyncExitStack() as stack:
        if kill_at is not None:
            deadly_steps.plant(kill_at)
        await STARTS[name](system, stack, port=system.ports.get(name, 0))
        serving(system.ports[name])
        await asyncio.Event().wait()


async def _start_gateway(system, stack, *, port):
    limits = QueueLimits(waiting_seconds=LIMITS["engine"], engine_seconds=LIMITS["engine"])
    engine = SocketEngine(str(recording_engine.path_in(system.folder)))
    await system.run_gateway_before(stack, engine, queue=limits, port=port)


async def _start_relay(system, stack, *, port):
    await system.run_relay(stack, port=port, gateway_seconds=LIMITS["gateway"], bundle_seconds=LIMITS["gateway"])


STARTS = {
    "witness": LocalSystem.run_witness,
    "ledger": LocalSystem.run_log,
    "kms": LocalSystem.run_kms,
    "gateway": _start_gateway,
    "relay": _start_relay,
}


def _reopened(folder):
    """The system that was written to this folder."""
    system = LocalSystem(folder, kms_security=SECURITY)
    for file, name in KEYS.items():
        setattr(system, name, read_signing_key(folder / f"{file}.seed"))
    (genesis,), (contract,) = (read_entries(folder / f"{name}.entries") for name in ("constitution", "contract"))
    system.constitution = parse_constitution(open_statement(genesis).payload)
    system.contract = parse_contract(open_statement(contract).payload)
    return system
