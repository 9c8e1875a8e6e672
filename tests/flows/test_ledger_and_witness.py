"""A ledger and its witness as processes on loopback sockets: killed, forked, left alone, and found whole."""

import asyncio
import signal
import sqlite3
from dataclasses import replace

import pytest
from tests.doubles.ledger_system import Process, running, statement

from cloister.crypto.merkle import GrowingTree, check_consistency, check_inclusion, consistency_path, leaf_hash, root
from cloister.errors import CloisterError, Unavailable
from cloister.formats.add_checkpoint import AddCheckpoint
from cloister.formats.checkpoint import Checkpoint
from cloister.formats.ledger_messages import Appended
from cloister.hosting.settings import load
from cloister.ledger.checkpoints import sign_checkpoint
from cloister.peers.ledger import LedgerClient
from cloister.peers.witness import WitnessClient
from cloister.services.ledger.backup import make_backup, restore_backup
from cloister.services.ledger.settings import LedgerSettings


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


async def test_a_backup_is_made_while_the_ledger_logs(tmp_path):
    async with running(tmp_path) as system:
        url = await system.start_ledger(await system.start_witness())
        settings = load(LedgerSettings, service="ledger", config=tmp_path / "ledger.toml", environ={}, flags={})
        async with LedgerClient(url) as client:
            blob = await client.put_blob(b"blob")
            entries = [statement(number) for number in range(40)]
            await asyncio.gather(*(client.append(entry) for entry in entries))
            logging = [asyncio.create_task(client.append(statement(number))) for number in range(40, 140)]
            sizes = [(await make_backup(settings, tmp_path / f"{number}.backup")).entries for number in range(3)]
            await asyncio.gather(*logging)
        assert sizes == sorted(sizes)
        assert sizes[0] >= 40
        await system.ledger.end(signal.SIGKILL)
        (tmp_path / "ledger").rename(tmp_path / "lost")
        assert (await make_backup(replace(settings, folder=tmp_path / "lost"), tmp_path / "last.backup")).entries == 140
        await restore_backup(settings, tmp_path / "last.backup")
        async with LedgerClient(await system.start_ledger(f"http://127.0.0.1:{system.ports['witness']}")) as client:
            assert (await client.append(statement(140))).index == 140
            assert sorted(await client.entries(0, 40)) == sorted(entries)
            assert await client.get_blob(blob) == b"blob"


async def test_a_ledger_that_is_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path):
    async with running(tmp_path) as system:
        witness_url = await system.start_witness()
        acknowledged: dict[int, bytes] = {}
        number = 0
        for delay in (0.0, 0.03, 0.1):
            async with LedgerClient(await system.start_ledger(witness_url)) as client:
                entries = [statement(number + more) for more in range(200)]
                appends = [asyncio.create_task(client.append(entry)) for entry in entries]
                batch = [statement(100_000 + number + more) for more in range(400)] + entries[:20]
                batched = asyncio.create_task(client.append_all(batch))
                await asyncio.wait([*appends, batched], return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(delay)
                await system.ledger.end(signal.SIGKILL)
                answers: list[object] = [*await asyncio.gather(*appends, return_exceptions=True)]
                (together,) = await asyncio.gather(batched, return_exceptions=True)
            if isinstance(together, list):  # the whole of it is acknowledged, or nothing is
                entries, answers = [*entries, *batch], [*answers, *together]
            for entry, answer in zip(entries, answers, strict=True):
                if isinstance(answer, Appended):
                    assert acknowledged.setdefault(answer.index, entry) == entry
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
            for number in range(4):
                with pytest.raises(Unavailable, match=r"ledger\.rollback: .* cosigned 3 entries of this log, 0 are"):
                    await client.append(statement(100 + number))
            with pytest.raises(Unavailable, match="no checkpoint was cosigned"):
                await client.checkpoint()


async def test_a_fork_that_is_signed_by_other_means_gets_none_either(tmp_path):
    """With the log's key in hand, and no code of ours to ask first."""
    tree = GrowingTree().grown(leaf_hash(statement(100 + number)) for number in range(4))
    async with running(tmp_path) as system:
        witness_url = await system.start_witness()
        async with LedgerClient(await system.start_ledger(witness_url)) as client:
            await asyncio.gather(*(client.append(statement(number)) for number in range(3)))

        async def ask(size, refusal):
            note = sign_checkpoint(Checkpoint(system.log.origin, size, tree.root(size)), system.keys["ledger"])
            path = consistency_path(3, size, tree.subtree)
            with pytest.raises(CloisterError, match=refusal):
                await witness.add_checkpoint(AddCheckpoint(3, path, note.encode()))

        async with WitnessClient("witness.test", witness_url) as witness:
            await ask(3, r"witness\.fork: .* another root at size 3")
            await ask(4, "the log of 4 does not continue the one of 3")


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
