"""Two stages at a time: what is stored meanwhile is not signed, and what is not cosigned is not answered."""

import asyncio

import pytest
from tests.doubles.faulty_ledger import LedgerLife, make_keys

from cloister.crypto.merkle import check_inclusion, leaf_hash
from cloister.errors import Unavailable
from cloister.formats.add_checkpoint import AddCheckpoint
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.services.ledger.quorum import Unwitnessed
from cloister.services.ledger.turns import RUN_ENTRIES, SMALL, TURN_ENTRIES

MANY = [b"entry %d" % number for number in range(3 * TURN_ENTRIES)]


def proved(entries, placed):
    """The indices, each of which its path proves."""
    checkpoint = parse_checkpoint(parse_note(placed.checkpoint.note).text)
    for entry, index, path in zip(entries, placed.indices, placed.paths, strict=True):
        check_inclusion(leaf_hash(entry), index, checkpoint.size, path, checkpoint.root)
    return list(placed.indices)


class Held:
    """Wraps an asynchronous function: each call waits until it is let through, and is noted."""

    def __init__(self, original):
        self._original = original
        self.calls = []
        self.open = asyncio.Event()
        self.called = asyncio.Event()

    async def __call__(self, *given):
        self.calls.append(given)
        self.called.set()
        await self.open.wait()
        return await self._original(*given)


def held(owner, name):
    wrapped = Held(getattr(owner, name))
    setattr(owner, name, wrapped)
    return wrapped


async def stored(life):
    return (await life.store.load()).tree.size


async def test_the_next_turn_is_stored_while_witnesses_are_asked_about_this_one(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        await life.sequencer.renew()
        witness = held(life.witnesses[0], "add_checkpoint")
        first = asyncio.create_task(life.sequencer.append(b"first"))
        await witness.called.wait()
        second = asyncio.create_task(life.sequencer.append(b"second"))
        async with asyncio.timeout(10):
            while await stored(life) < 2:  # noqa: ASYNC110 - the database's thread sets no event
                await asyncio.sleep(0.001)
        assert not first.done()
        assert not second.done()
        witness.open.set()
        assert [(await one).index for one in (first, second)] == [0, 1]
        assert len(witness.calls) == 2


async def test_nothing_is_signed_that_is_not_on_disk(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        sizes = []
        original = life.witnesses[0].add_checkpoint

        async def looked_up(request: AddCheckpoint):
            size = parse_checkpoint(parse_note(request.note).text).size
            sizes.append((size, await stored(life)))
            return await original(request)

        life.witnesses[0].add_checkpoint = looked_up
        runs = [MANY[start : start + 700] for start in range(0, len(MANY), 700)]
        placed = await asyncio.gather(*(life.sequencer.append_all(run) for run in runs))
        assert sorted(index for one in placed for index in one.indices) == [*range(len(MANY))]
        assert sizes[-1][0] == len(MANY)
        assert all(size <= on_disk for size, on_disk in sizes)


async def test_a_witness_that_goes_in_the_middle_of_a_large_append_leaves_nothing_answered_and_nothing_lost(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        before = await life.sequencer.append(b"before")
        appending = asyncio.create_task(life.sequencer.append_all(MANY))
        async with asyncio.timeout(10):
            while await stored(life) < 2:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
        life.witnesses[0].down = True
        with pytest.raises(Unwitnessed):
            await appending
        shown = life.sequencer.cosigned.size
        assert shown < 1 + len(MANY)
        life.witnesses[0].down = False
        placed = await life.sequencer.append_all(MANY)
        assert proved(MANY, placed) == [*range(1, 1 + len(MANY))]
        assert (await life.sequencer.append(b"before")).index == before.index


@pytest.mark.parametrize("stored_before_it_failed", [False, True])
async def test_a_disk_that_fails_in_the_middle_of_a_large_append_is_read_back_and_keeps_every_index(
    tmp_path, stored_before_it_failed
):
    async with LedgerLife(tmp_path, make_keys()) as life:
        real, turns = life.sequencer._store.append, []

        async def second_fails(entries):
            turns.append(len(entries))
            if len(turns) == 2:
                if stored_before_it_failed:
                    await real(entries)
                raise Unavailable("the disk failed")
            return await real(entries)

        life.sequencer._store.append = second_fails
        with pytest.raises(Unavailable, match="the disk failed"):
            await life.sequencer.append_all(MANY)
        placed = await life.sequencer.append_all(MANY)
        assert sorted(proved(MANY, placed)) == [*range(len(MANY))]
        assert await life.sequencer.entries(0, len(MANY), limit=10**7) == [
            entry for _, entry in sorted(zip(placed.indices, MANY, strict=True))
        ]


async def test_an_answer_waits_for_entries_and_witnesses_and_the_next_one_for_its_checkpoint_on_disk(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        await life.sequencer.renew()
        publish = held(life.sequencer._store, "publish")
        assert (await life.sequencer.append(b"first")).index == 0
        assert life.sequencer.cosigned.size == 1
        second = asyncio.create_task(life.sequencer.append(b"second"))
        async with asyncio.timeout(10):
            while await stored(life) < 2:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
        assert not second.done()
        assert len(publish.calls) == 1
        publish.open.set()
        assert (await second).index == 1


async def test_a_renewed_checkpoint_is_stored_before_it_is_answered(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        await life.sequencer.append(b"first")
        await life.sequencer.renew()
        publish = held(life.sequencer._store, "publish")
        renewing = asyncio.create_task(life.sequencer.renew())
        await publish.called.wait()
        await asyncio.sleep(0.01)
        assert not renewing.done()
        publish.open.set()
        await renewing


async def test_while_a_checkpoint_cannot_be_stored_the_ledger_says_so_and_answers_no_more(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        await life.sequencer.append(b"first")
        real = life.sequencer._store.publish

        async def fails(_checkpoint):
            raise Unavailable("the disk is full")

        life.sequencer._store.publish = fails
        assert (await life.sequencer.append(b"second")).index == 1  # it is on disk, and the witness remembers it
        with pytest.raises(Unavailable, match="the disk is full"):
            await life.sequencer.append(b"third")
        assert life.sequencer.missing() == ["a checkpoint that counts: the disk is full"]
        assert life.sequencer.cosigned.size == 2
        life.sequencer._store.publish = real
        assert (await life.sequencer.append(b"third")).index == 2
        assert life.sequencer.missing() == []


async def test_a_start_that_finds_more_than_was_stored_as_cosigned_shows_nothing_until_it_is(tmp_path):
    keys = make_keys()
    async with LedgerLife(tmp_path, keys) as life:
        await life.sequencer.append(b"first")
    async with LedgerLife(tmp_path, keys, crash_at="before the cosigned checkpoint is stored") as life:
        assert (await life.sequencer.append(b"shown")).index == 1
    async with LedgerLife(tmp_path, keys) as life:
        life.witnesses[0].down = True
        assert life.sequencer.missing() == ["a first checkpoint that witnesses cosigned"]
        with pytest.raises(Unavailable, match="to cosign again what was stored last"):
            _ = life.sequencer.cosigned
        with pytest.raises(Unavailable):
            await life.sequencer.append(b"first")
        life.witnesses[0].down = False
        assert (await life.sequencer.append(b"first")).index == 0
        assert life.sequencer.cosigned.size == 2


async def test_the_same_bytes_in_appends_at_once_have_one_index(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        one, other = MANY[:600], MANY[300:900] + MANY[300:320]
        first, second = await asyncio.gather(life.sequencer.append_all(one), life.sequencer.append_all(other))
        indices = dict(zip(one, proved(one, first), strict=True))
        for entry, index in zip(other, proved(other, second), strict=True):
            assert indices.setdefault(entry, index) == index
        assert sorted(indices.values()) == [*range(900)]
        assert life.sequencer.cosigned.size == 900


async def test_a_client_that_leaves_a_large_append_holds_up_nobody_and_what_it_left_is_whole(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        store = held(life.sequencer._store, "append")
        leaving = asyncio.create_task(life.sequencer.append_all(MANY))
        await store.called.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        store.open.set()
        appended = await life.sequencer.append(b"stayed")
        # What waited for its turn is not stored any more; what had begun to be is, and the log goes on after it.
        assert appended.index <= TURN_ENTRIES + RUN_ENTRIES
        placed = await life.sequencer.append_all(MANY)
        assert sorted((*placed.indices, appended.index)) == [*range(len(MANY) + 1)]


async def test_few_are_answered_while_many_wait(tmp_path):
    async with LedgerLife(tmp_path, make_keys()) as life:
        store = held(life.sequencer._store, "append")
        many = [asyncio.create_task(life.sequencer.append_all(MANY[start::4])) for start in range(4)]
        await store.called.wait()
        few = asyncio.create_task(life.sequencer.append_all([b"few %d" % number for number in range(SMALL)]))
        await asyncio.sleep(0)
        store.open.set()
        assert max((await few).indices) < 2 * TURN_ENTRIES + SMALL
        await asyncio.gather(*many)
        assert life.sequencer.cosigned.size == len(MANY) + SMALL
