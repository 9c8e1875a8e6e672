"""The sequencer over a real database and real witnesses, each step of which can be the last."""

import asyncio
import contextlib
import sqlite3

import pytest
from tests.doubles.faulty_ledger import COMPARING, Crash, LedgerLife, make_keys

from cloister.crypto.merkle import check_consistency, check_inclusion, leaf_hash, root
from cloister.errors import Unavailable, UsageError
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.ledger.witness_rules import TreeHead
from cloister.services.ledger.quorum import RolledBack, Unwitnessed
from cloister.services.ledger.turns import TURN_ENTRIES
from cloister.storage.database_file import CorruptStore

SECOND = "SELECT note, digest FROM checkpoints WHERE size = 2"
STEPS = [
    "before the entries are stored",
    "after the entries are stored",
    "before the witness is asked",
    "after the witness has cosigned",
]
BEHIND = ["before the cosigned checkpoint is stored", "after the cosigned checkpoint is stored"]  # the answer has left


def verified(life, note):
    witnesses = [witness.witness for witness in life.witnesses]
    return examine_checkpoint(note, log=life.sequencer.log, witnesses=witnesses, quorum=1).require()


def check(life, entry, appended):
    """The answer to an append proves itself."""
    checkpoint = verified(life, appended.checkpoint)
    check_inclusion(leaf_hash(entry), appended.index, checkpoint.size, appended.path, checkpoint.root)
    return checkpoint


async def append(life, entry):
    """Append through the queue; a crash of the loop is the end of the append, too."""
    appending = asyncio.create_task(life.sequencer.append(entry))
    await asyncio.wait({appending, life.sequencer._loop}, return_when=asyncio.FIRST_COMPLETED)
    if not appending.done():
        appending.cancel()
        life.sequencer._loop.result()
    return await appending


async def test_an_append_is_answered_with_what_proves_it(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        for number in range(5):
            appended = await life.sequencer.append(b"entry %d" % number)
            assert appended.index == number
            assert check(life, b"entry %d" % number, appended).size == number + 1
        assert [step for step in life.steps.taken if step not in BEHIND] == [*COMPARING, *STEPS * 5]


async def test_the_same_bytes_keep_their_index_and_need_no_witness_again(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        first = await life.sequencer.append(b"entry")
        await life.sequencer.append(b"another")
        life.witnesses[0].down = True
        again = await life.sequencer.append(b"entry")
        assert again.index == first.index == 0
        assert check(life, b"entry", again).size == 2


async def test_appends_that_wait_together_share_a_checkpoint(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        entries = [b"entry %d" % number for number in range(40)] * 2
        answers = await asyncio.gather(*(life.sequencer.append(entry) for entry in entries))
        assert sorted({answer.index for answer in answers}) == list(range(40))
        for entry, answer in zip(entries, answers, strict=True):
            check(life, entry, answer)
        assert life.steps.taken.count("before the witness is asked") < 5


async def test_one_entry_passes_the_rest_of_many(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        many = asyncio.create_task(life.sequencer.append_all([b"entry %d" % number for number in range(3000)]))
        await asyncio.sleep(0)
        passing = await life.sequencer.append(b"one")
        assert passing.index <= TURN_ENTRIES
        placed = await many
        assert sorted((*placed.indices, passing.index)) == [*range(3001)]


@pytest.mark.parametrize("step", [*COMPARING, *STEPS, *BEHIND])
async def test_after_a_crash_at_any_step_the_log_goes_on_as_one_history(tmp_path, step):
    keys = make_keys()
    async with LedgerLife(tmp_path, keys) as life:
        acknowledged = await life.sequencer.append(b"acknowledged")
        before = verified(life, acknowledged.checkpoint)
    async with LedgerLife(tmp_path, keys, crash_at=step) as life:
        with contextlib.nullcontext() if step in BEHIND else pytest.raises(Crash, match=step):
            await append(life, b"in flight")
    async with LedgerLife(tmp_path, keys) as life:
        # What was acknowledged is there; what was in flight, sent again, gets one index, whatever was stored of it.
        assert (await life.sequencer.append(b"acknowledged")).index == 0
        again = await life.sequencer.append(b"in flight")
        assert again.index == 1
        after = check(life, b"in flight", again)
        assert await life.sequencer.entries(0, 2, limit=10**6) == [b"acknowledged", b"in flight"]
        assert after.root == root([leaf_hash(b"acknowledged"), leaf_hash(b"in flight")])
        path = life.sequencer.consistency(before.size, after.size)
        check_consistency(before.size, before.root, after.size, after.root, path)


async def test_without_its_witness_an_append_is_not_answered_but_not_lost(tmp_path):
    keys = make_keys()
    async with LedgerLife(tmp_path, keys) as life:
        await life.sequencer.append(b"first")
        life.witnesses[0].down = True
        with pytest.raises(Unwitnessed, match=r"0 of the 1 .* witness0.test cannot be reached"):
            await life.sequencer.append(b"second")
        assert Unwitnessed.retry
        assert life.sequencer.cosigned.size == 1
        with pytest.raises(UsageError):
            await life.sequencer.entries(0, 2, limit=10**6)
    async with LedgerLife(tmp_path, keys) as life:
        third = await life.sequencer.append(b"third")
        assert third.index == 2
        assert (await life.sequencer.append(b"second")).index == 1


async def test_one_witness_of_three_may_be_down_where_two_are_needed(tmp_path):
    async with LedgerLife(tmp_path, make_keys(3), needed=2) as life:
        life.witnesses[1].down = True
        checkpoint = verified(life, (await life.sequencer.append(b"entry")).checkpoint)
        assert checkpoint.witnesses == ("witness0.test", "witness2.test")
        life.witnesses[2].down = True
        with pytest.raises(Unwitnessed, match="1 of the 2"):
            await life.sequencer.append(b"more")
        life.witnesses[1].down = False
        # It has never seen this log: it is told the whole of it, from nothing.
        assert verified(life, (await life.sequencer.append(b"more")).checkpoint).size == 2


async def test_renewing_gives_fresh_times_at_the_same_size(tmp_path):
    now = [1_000]
    async with LedgerLife(tmp_path, make_keys(), clock=lambda: now[0]) as life:
        first = verified(life, (await life.sequencer.append(b"entry")).checkpoint)
        now[0] = 2_000
        second = verified(life, await life.sequencer.renew())
        assert (first.cosigned_at, second.cosigned_at) == (1_000, 2_000)
        assert (first.size, first.root) == (second.size, second.root)
        assert life.sequencer.cosigned.note == second.note


async def test_an_empty_log_has_a_checkpoint_once_it_is_asked_for(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        with pytest.raises(Unavailable, match="no checkpoint"):
            life.sequencer.cosigned.note  # noqa: B018
        assert verified(life, await life.sequencer.renew()).size == 0
        assert (await life.sequencer.append(b"entry")).index == 0


async def test_a_database_that_was_rolled_back_is_told_by_its_witness(tmp_path):
    keys = make_keys()
    (tmp_path / "backup").mkdir()
    async with LedgerLife(tmp_path, keys) as life:
        await life.sequencer.append(b"first")
    (tmp_path / "backup/ledger.sqlite").write_bytes((tmp_path / "ledger.sqlite").read_bytes())
    async with LedgerLife(tmp_path, keys) as life:
        for number in range(3):
            await life.sequencer.append(b"lost %d" % number)
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    (tmp_path / "backup/ledger.sqlite").rename(tmp_path / "ledger.sqlite")
    async with LedgerLife(tmp_path, keys) as life:
        for number in range(5):  # more than it takes to be as long as the other history
            with pytest.raises(RolledBack, match=r"ledger\.rollback: .* cosigned 4 entries of this log, 1 are here"):
                await life.sequencer.append(b"another history %d" % number)
        with pytest.raises(RolledBack):
            await life.sequencer.renew()
        assert (await life.store.load()).tree.size == 1  # nothing was stored, and nothing was signed
        assert life.steps.taken == ["before the witness is asked what it knows", *["before the witness is asked"] * 5]
        assert await life.sequencer.entries(0, 1, limit=100) == [b"first"]
        assert "cosigned 4 entries" in life.sequencer.missing()[0]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DROP TRIGGER entries_stay; UPDATE entries SET entry = x'00' WHERE number = 1", "entry 1 is not what"),
        ("DROP TRIGGER entries_remain; DELETE FROM entries WHERE number = 1", "entry 1 is missing"),
        ("DROP TRIGGER entries_remain; DELETE FROM entries WHERE number = 2", "only 2 entries are stored"),
        ("DROP TRIGGER roots_stay; UPDATE checkpoints SET root = zeroblob(32) WHERE size = 2", "of 2 entries has the"),
        ("UPDATE checkpoints SET note = x'00' WHERE size = 3", "the note of 3 entries is damaged"),
        (f"UPDATE checkpoints SET (note, digest) = ({SECOND}) WHERE size = 3", "says another size"),
        ("UPDATE checkpoints SET note = zeroblob(10) WHERE size = 2", "the note of 2 entries is damaged"),
    ],
)
async def test_a_log_that_is_not_what_was_cosigned_is_not_served(tmp_path, sql, found):
    keys = make_keys()
    async with LedgerLife(tmp_path, keys) as life:
        for number in range(3):
            await life.sequencer.append(b"entry %d" % number)
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    connection.executescript(sql)
    connection.executescript(";".join(made for name, made in triggers if f"DROP TRIGGER {name};" in sql))
    connection.close()
    with pytest.raises(CorruptStore, match=found):
        async with LedgerLife(tmp_path, keys):
            pass


async def test_a_database_of_another_log_is_refused(tmp_path):
    async with LedgerLife(tmp_path, make_keys()):
        pass
    with pytest.raises(CorruptStore, match="is of the log"):
        async with LedgerLife(tmp_path, make_keys()):
            pass


async def test_a_disk_that_fails_once_is_read_again_before_the_next_entry(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        store, real = life.sequencer._store, life.sequencer._store.append

        async def stored_but_failed(entries):
            await real(entries)
            raise Unavailable("the disk failed")

        store.append = stored_but_failed
        with pytest.raises(Unavailable, match="the disk failed"):
            await life.sequencer.append(b"first")
        store.append = real
        assert (await life.sequencer.append(b"second")).index == 1
        assert (await life.sequencer.append(b"first")).index == 0


async def test_a_fault_of_ours_ends_one_batch_and_not_the_ledger(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        real = life.sequencer._store.append

        async def faulty(_entries):
            raise ValueError("canary")

        life.sequencer._store.append = faulty
        with pytest.raises(Unavailable, match="a fault of the ledger"):
            await life.sequencer.append(b"first")
        life.sequencer._store.append = real
        assert (await life.sequencer.append(b"first")).index == 0


async def test_only_so_many_entries_are_stored_without_witnesses(tmp_path):
    async with LedgerLife(tmp_path, make_keys(), maximum_unwitnessed=2) as life:
        await life.sequencer.renew()
        life.witnesses[0].down = True
        for number in range(4):
            with pytest.raises(Unwitnessed):
                await life.sequencer.append(b"entry %d" % number)
        assert (await life.store.load()).tree.size == 2
        life.witnesses[0].down = False
        assert (await life.sequencer.append(b"entry 3")).index == 2


async def test_a_full_queue_and_a_stopped_ledger_say_so(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        waiting = [asyncio.create_task(life.sequencer.append(b"%d" % number)) for number in range(1100)]
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Unavailable)]
        assert refused
        assert "wait already" in str(refused[0])
        assert len(answers) - len(refused) == life.sequencer.cosigned.size
    with pytest.raises(Unavailable, match="not running"):
        await life.sequencer.append(b"late")


async def test_what_waits_when_the_ledger_stops_is_told_to_come_back(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:

        async def never(_entries):
            await asyncio.sleep(3600)

        life.sequencer._store.append = never
        waiting = [asyncio.create_task(life.sequencer.append(b"%d" % number)) for number in range(2)]
        await asyncio.sleep(0.01)
        waiting.append(asyncio.create_task(life.sequencer.append(b"queued")))
        await asyncio.sleep(0.01)
        await life.sequencer.stop()
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(answer, Unavailable)
            assert "stopping" in str(answer)


async def test_a_client_that_leaves_takes_nothing_with_it(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        leaving = asyncio.create_task(life.sequencer.append(b"left"))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await life.sequencer.append(b"stayed")).index in (0, 1)
        assert (await life.sequencer.append(b"left")).index in (0, 1)


async def test_proofs_are_given_for_what_counts_only(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        for number in range(3):
            await life.sequencer.append(b"%d" % number)
        for index, size in [(3, 3), (-1, 3), (0, 4), (0, 0)]:
            with pytest.raises(UsageError):
                life.sequencer.inclusion(index, size)
        for old, new in [(0, 3), (3, 4), (3, 2)]:
            with pytest.raises(UsageError):
                life.sequencer.consistency(old, new)
        for start, end in [(0, 4), (2, 2), (3, 1)]:
            with pytest.raises(UsageError):
                await life.sequencer.entries(start, end, limit=10)
        assert await life.sequencer.entries(0, 3, limit=2) == [b"0", b"1"]
        assert await life.sequencer.entries(1, 3, limit=0) == [b"1"]


async def test_witness_and_ledger_remember_the_same_head(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        appended = await life.sequencer.append(b"entry")
        checkpoint = parse_checkpoint(parse_note(appended.checkpoint).text)
        head = await life.witnesses[0]._witnessing._store.head(life.sequencer.log.origin)
        assert head == TreeHead(checkpoint.size, checkpoint.root)


async def test_a_ledger_is_ready_once_a_quorum_cosigned_and_says_why_it_no_longer_does(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        assert life.sequencer.missing() == ["a first checkpoint that witnesses cosigned"]
        await life.sequencer.renew()  # of the empty log
        assert (life.sequencer.missing(), life.sequencer.quiet_for() < 60) == ([], True)
        (witness,) = life.witnesses
        witness.down = True
        with pytest.raises(Unwitnessed):
            await life.sequencer.renew()
        assert "0 of the 1 witnesses that it takes cosigned" in life.sequencer.missing()[0]
        witness.down = False
        await life.sequencer.renew()
        assert life.sequencer.missing() == []
