"""A ledger and its witness as processes on loopback sockets: killed, forked, left alone, and found whole."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys

import pytest

from cloister.crypto.merkle import check_consistency, check_inclusion, leaf_hash, root
from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable
from cloister.formats.checkpoint import COSIGNATURE_V1, ED25519, format_vkey
from cloister.formats.constitution import Log, Witness
from cloister.formats.ledger_messages import Appended
from cloister.formats.release import Revocation
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.ledger.statements import sign_statement
from cloister.peers.ledger import LedgerClient
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

    async def start(self):
        """Its URL; its exit code and what it said where it would not start."""
        ready = self._system.folder / f"{self._name}.ready"
        await asyncio.to_thread(ready.unlink, missing_ok=True)
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-B",
            "tests/doubles/ledger_process.py",
            self._name,
            str(self._system.folder / f"{self._name}.toml"),
            env={**os.environ, "PYTHONPATH": "src"},
            stderr=asyncio.subprocess.PIPE,
        )
        while process.returncode is None and not ready.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
        if process.returncode is not None:
            _, said = await process.communicate()
            return process.returncode, said.decode()
        port = int(await asyncio.to_thread(ready.read_text))
        self._system.ports[self._name] = port
        return f"http://127.0.0.1:{port}"

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
        self._write(
            "witness", 0, f'name = "witness.test"\nlogs = ["{format_vkey(ORIGIN, self.log.key, kind=ED25519)}"]'
        )

    async def start_witness(self):
        url = await self.witness.start()
        self._write("witness", self.ports["witness"], (self.folder / "witness.toml").read_text().split("\n", 4)[4])
        return url

    async def start_ledger(self, witness_url):
        vkey = format_vkey("witness.test", self.watching.key, kind=COSIGNATURE_V1)
        settings = f'origin = "{ORIGIN}"\nquorum = 1\nwitness_seconds = 2\n'
        self._write("ledger", 0, settings + f'[[witnesses]]\nvkey = "{vkey}"\nurl = "{witness_url}"')
        return await self.ledger.start()

    async def end(self):
        for process in (self.ledger, self.witness):
            await process.end(signal.SIGTERM)

    def verified(self, note):
        return examine_checkpoint(note, log=self.log, witnesses=[self.watching], quorum=1).require()

    def _write(self, name, port, more):
        lines = [f"port = {port}", f'folder = "{self.folder / name}"', f'key = "{self.folder / name}.seed"']
        lines.append(f'ready = "{self.folder / name}.ready"')
        (self.folder / f"{name}.toml").write_text("\n".join([*lines, more]))


@contextlib.asynccontextmanager
async def running(folder, **options):
    system = System(folder, **options)
    try:
        yield system
    finally:
        await system.end()


async def test_what_is_appended_is_proved_and_both_ends_stop_in_time(tmp_path):
    async with running(tmp_path) as system:
        url = await system.start_ledger(await system.start_witness())
        entries = [statement(number) for number in range(12)]
        async with LedgerClient(url) as client:
            first = system.verified((await client.append(entries[0])).checkpoint)
            answers = await asyncio.gather(*(client.append(entry) for entry in entries))
            for entry, answer in zip(entries, answers, strict=True):
                checkpoint = system.verified(answer.checkpoint)
                check_inclusion(leaf_hash(entry), answer.index, checkpoint.size, answer.path, checkpoint.root)
            last = system.verified(await client.renew_checkpoint())
            assert last.size == 12
            assert last.root == root([leaf_hash(entry) for entry in await client.entries(0, 12)])
            check_consistency(first.size, first.root, 12, last.root, await client.consistency(first.size, 12))
        async with asyncio.timeout(10):
            await system.end()


async def test_a_ledger_that_is_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path):
    async with running(tmp_path) as system:
        witness_url = await system.start_witness()
        acknowledged, number = {}, 0
        for delay in (0.0, 0.03, 0.1):
            async with LedgerClient(await system.start_ledger(witness_url)) as client:
                entries = [statement(number + more) for more in range(400)]
                appends = [asyncio.create_task(client.append(entry)) for entry in entries]
                await asyncio.wait(appends, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(delay)
                await system.ledger.end(signal.SIGKILL)
                answers = await asyncio.gather(*appends, return_exceptions=True)
            for entry, answer in zip(entries, answers, strict=True):
                if isinstance(answer, Appended):
                    acknowledged[answer.index] = entry
                    number += 1
                else:
                    assert isinstance(answer, Unavailable)
        async with LedgerClient(await system.start_ledger(witness_url)) as client:
            checkpoint = system.verified(await client.renew_checkpoint())
            found = await client.entries(0, checkpoint.size)
            assert checkpoint.root == root([leaf_hash(entry) for entry in found])
            assert acknowledged
            for index, entry in acknowledged.items():
                assert found[index] == entry
            assert len(set(found)) == len(found)


async def test_with_its_witness_gone_an_append_is_unavailable_and_counts_when_it_is_back(tmp_path):
    async with running(tmp_path) as system:
        url = await system.start_ledger(await system.start_witness())
        async with LedgerClient(url) as client:
            assert (await client.append(statement(0))).index == 0
            await system.witness.end(signal.SIGKILL)
            with pytest.raises(Unavailable, match=r"0 of the 1 witnesses .* witness\.test cannot be reached"):
                await client.append(statement(1))
            assert system.verified(await client.checkpoint()).size == 1
            await system.start_witness()
            again = await client.append(statement(1))
            assert (again.index, system.verified(again.checkpoint).size) == (1, 2)


async def test_a_forked_log_gets_no_cosignature(tmp_path):
    """The operator runs a second ledger with the log's own key, and shows its witness another history."""
    (tmp_path / "fork").mkdir()
    async with running(tmp_path) as system, running(tmp_path / "fork", keys=system.keys) as fork:
        witness_url = await system.start_witness()
        async with LedgerClient(await system.start_ledger(witness_url)) as client:
            await asyncio.gather(*(client.append(statement(number)) for number in range(3)))
        async with LedgerClient(await fork.start_ledger(witness_url)) as client:
            refusals = ["cosigned 3 entries", "cosigned 3 entries", r"witness\.fork", "does not continue"]
            for number, refusal in enumerate(refusals):
                with pytest.raises(Unavailable, match=refusal):
                    await client.append(statement(100 + number))
            with pytest.raises(Unavailable, match="no checkpoint was cosigned"):
                await client.checkpoint()


async def test_a_damaged_database_is_not_served_and_the_reason_is_said(tmp_path):
    async with running(tmp_path) as system:
        witness_url = await system.start_witness()
        async with LedgerClient(await system.start_ledger(witness_url)) as client:
            await client.append(statement(0))
        await system.ledger.end(signal.SIGTERM)
        connection = sqlite3.connect(tmp_path / "ledger/ledger.sqlite")
        (rule,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'entries_stay'").fetchone()
        connection.executescript(f"DROP TRIGGER entries_stay; UPDATE entries SET entry = x'00'; {rule}")
        connection.close()
        code, said = await system.start_ledger(witness_url)
        assert code == 1
        assert "entry 0 is not what was written" in said


async def test_a_second_ledger_on_the_same_database_is_refused(tmp_path):
    async with running(tmp_path) as system:
        witness_url = await system.start_witness()
        await system.start_ledger(witness_url)
        second = Process(system, "ledger")
        code, said = await second.start()
        assert code == 4
        assert "another process" in said
