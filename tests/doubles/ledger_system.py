"""A ledger and its witness as processes on loopback sockets, over a folder; either can die at a durable step."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from cloister.crypto.signing import SigningKey
from cloister.formats.checkpoint import COSIGNATURE_V1, ED25519, format_vkey
from cloister.formats.constitution import Log, Witness
from cloister.formats.release import Revocation
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.ledger.statements import sign_statement
from cloister.storage.key_file import write_signing_key

ORIGIN = "log.test/cloister"
SIGNER = SigningKey.generate()


def statement(number):
    return sign_statement(
        "revocation", Revocation(contract=bytes(32), target=number.to_bytes(32, "big"), reason="a test"), [SIGNER]
    )


class Process:
    """One service of a `System`."""

    def __init__(self, system, name):
        self._system, self._name = system, name
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self):
        assert self._process is not None
        return self._process.pid

    async def start(self, *, kill_at=None):
        """Its URL; its exit code and what it said where it would not start.

        `kill_at`: it kills itself at that durable step, counted from 0 and from when it is ready.
        """
        ready = self._system.folder / f"{self._name}.ready"
        await asyncio.to_thread(ready.unlink, missing_ok=True)
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-B",
            "tests/doubles/ledger_process.py",
            self._name,
            str(self._system.folder / f"{self._name}.toml"),
            *([] if kill_at is None else [str(kill_at)]),
            env={**os.environ, "PYTHONPATH": "src"},
            stderr=asyncio.subprocess.PIPE,
        )
        while process.returncode is None and not ready.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
        if not ready.exists():  # one that was ready may have killed itself since
            _, said = await process.communicate()
            return process.returncode, said.decode()
        port = int(await asyncio.to_thread(ready.read_text))
        self._system.ports[self._name] = port
        return f"http://127.0.0.1:{port}"

    async def ended(self):
        """Its exit status, once it has one."""
        assert self._process is not None
        await self._process.communicate()
        return self._process.returncode

    async def end(self, number):
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.communicate()


class System:
    """A log and one witness over a folder."""

    def __init__(self, folder, *, name="main", keys=None):
        self.folder = folder
        self.ports = {}
        self.keys = keys or {"ledger": SigningKey.generate(), "witness": SigningKey.generate()}
        self.log = Log(origin=ORIGIN, key=self.keys["ledger"].public)
        self.watching = Witness(name="witness.test", key=self.keys["witness"].public)
        for role, key in self.keys.items():
            write_signing_key(folder / f"{role}.seed", key)
        self.ledger, self.witness = Process(self, "ledger"), Process(self, "witness")
        self.front_ends: dict[int, Process] = {}
        self._write(
            "witness", 0, f'name = "witness.test"\nlogs = ["{format_vkey(ORIGIN, self.log.key, kind=ED25519)}"]'
        )

    async def start_witness(self, **options):
        url = await self.witness.start(**options)
        self._write("witness", self.ports["witness"], (self.folder / "witness.toml").read_text().split("\n", 4)[4])
        return url

    async def start_ledger(self, witness_url, **options):
        vkey = format_vkey("witness.test", self.watching.key, kind=COSIGNATURE_V1)
        settings = f'origin = "{ORIGIN}"\nquorum = 1\nwitness_seconds = 2\n'
        self._write("ledger", 0, settings + f'[[witnesses]]\nvkey = "{vkey}"\nurl = "{witness_url}"')
        return await self.ledger.start(**options)

    async def start_front_end(self, number, witness_url, database_url):
        """One of several ledgers on a database; its process is then in `front_ends`."""
        name = f"ledger{number}"
        self.front_ends.setdefault(number, Process(self, name))
        vkey = format_vkey("witness.test", self.watching.key, kind=COSIGNATURE_V1)
        settings = f'origin = "{ORIGIN}"\nquorum = 1\nwitness_seconds = 2\nlease_seconds = 1\n'
        table = f'[database]\nurl = "{database_url}"\nconnect_seconds = 2\nanswer_seconds = 2\n'
        self._write(name, 0, f'{settings}{table}[[witnesses]]\nvkey = "{vkey}"\nurl = "{witness_url}"', key="ledger")
        return await self.front_ends[number].start()

    async def end(self):
        for process in (*self.front_ends.values(), self.ledger, self.witness):
            await process.end(signal.SIGTERM)

    def verified(self, note):
        return examine_checkpoint(note, log=self.log, witnesses=[self.watching], quorum=1).require()

    def _write(self, name, port, more, *, key=None):
        lines = [f"port = {port}", f'folder = "{self.folder / name}"', f'key = "{self.folder / (key or name)}.seed"']
        lines.append(f'ready = "{self.folder / name}.ready"')
        (self.folder / f"{name}.toml").write_text("\n".join([*lines, more]))


@contextlib.asynccontextmanager
async def running(folder, **options):
    system = System(folder, **options)
    try:
        yield system
    finally:
        await system.end()
