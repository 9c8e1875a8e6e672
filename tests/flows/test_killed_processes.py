"""Ledger and witness as processes: killed at each durable step, without room on the disk, with a byte flipped."""

from __future__ import annotations

import resource
import signal

import pytest
from tests.doubles.ledger_system import running, statement

from cloister.crypto.merkle import leaf_hash, root
from cloister.errors import Unavailable
from cloister.peers.ledger import LedgerClient

STEPS = ("before a commit", "after it", "before it is synchronised", "after that")


class Reader:
    """Remembers what a ledger acknowledged and showed, and holds it against what it shows later."""

    def __init__(self, system):
        self._system = system
        self._number = 0
        self.acknowledged: dict[int, bytes] = {}
        self.roots: dict[int, bytes] = {}

    async def append(self, client):
        """Log one more statement."""
        self._number += 1
        entry = statement(self._number)
        appended = await client.append(entry)
        self.acknowledged[appended.index] = entry
        self.saw(appended.checkpoint)

    def saw(self, note):
        checkpoint = self._system.verified(note)
        assert self.roots.setdefault(checkpoint.size, checkpoint.root) == checkpoint.root
        return checkpoint

    async def check(self, client):
        """Nothing acknowledged is missing, and every root shown is one of this history."""
        checkpoint = self.saw(await client.renew_checkpoint())
        entries = await client.entries(0, checkpoint.size) if checkpoint.size else ()
        for index, entry in self.acknowledged.items():
            assert entries[index] == entry
        leaves = [leaf_hash(entry) for entry in entries]
        for size, shown in self.roots.items():
            assert root(leaves[:size]) == shown

    async def append_until_unavailable(self, client):
        for _ in range(20):
            try:
                await self.append(client)
            except Unavailable:
                return
        pytest.fail("nothing died")


async def test_a_ledger_that_is_killed_at_any_durable_step_goes_on_with_one_history(tmp_path):
    async with running(tmp_path) as system:
        witness_url, reader = await system.start_witness(), Reader(system)
        for step in range(2 * len(STEPS)):  # of the entries' transaction, and of the checkpoint's
            async with LedgerClient(await system.start_ledger(witness_url, kill_at=step)) as client:
                await reader.append_until_unavailable(client)
            assert await system.ledger.ended() == -signal.SIGKILL
        async with LedgerClient(await system.start_ledger(witness_url)) as client:
            await reader.append(client)
            await reader.check(client)


async def test_a_witness_that_is_killed_at_any_durable_step_cosigns_no_other_history(tmp_path):
    async with running(tmp_path) as system:
        reader = Reader(system)
        async with LedgerClient(await system.start_ledger(await system.start_witness())) as client:
            await reader.append(client)
            for step in range(len(STEPS)):
                await system.witness.end(signal.SIGTERM)
                await system.start_witness(kill_at=step)
                await reader.append_until_unavailable(client)
                assert await system.witness.ended() == -signal.SIGKILL
            await system.start_witness()
            await reader.append(client)
            await reader.check(client)


@pytest.mark.parametrize("name", ["ledger", "witness"])
async def test_without_room_on_its_disk_it_refuses_to_log_more_and_goes_on_when_there_is_some(tmp_path, name):
    async with running(tmp_path) as system:
        witness_url, reader = await system.start_witness(), Reader(system)
        async with LedgerClient(await system.start_ledger(witness_url)) as client:
            await reader.append(client)
            process = getattr(system, name)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            with pytest.raises(Unavailable, match=r"cannot be used: (disk I/O error|database or disk is full)"):
                await reader.append(client)
            assert reader.saw(await client.checkpoint()).size >= 1  # reading goes on
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await reader.append(client)
            await reader.check(client)


@pytest.mark.parametrize(("name", "advice"), [("ledger", "begin a new log"), ("witness", "a new name and key")])
async def test_with_a_byte_flipped_it_does_not_start_and_says_what_to_do(tmp_path, name, advice):
    async with running(tmp_path) as system:
        witness_url, reader = await system.start_witness(), Reader(system)
        async with LedgerClient(await system.start_ledger(witness_url)) as client:
            await reader.append(client)
        await system.end()
        path = tmp_path / name / f"{name}.sqlite"
        content = bytearray(path.read_bytes())
        content[content.index(reader.roots[1]) + 5] ^= 0x10
        path.write_bytes(content)
        start = system.start_witness() if name == "witness" else system.start_ledger(witness_url)
        status, said = await start
        assert status == 1
        assert advice in said
        assert "Traceback" not in said
        assert path.read_bytes() == bytes(content)
