"""Who is next: small appends before large ones, and the large ones all the same."""

import asyncio

import pytest

from cloister.errors import Unavailable
from cloister.services.ledger.turns import MAXIMUM_WAITING, RUN_ENTRIES, SMALL, TURN_BYTES, TURN_ENTRIES, Turns


def several(number, size=300):
    return [bytes([number % 256]) * size for number in range(number)]


async def taken(turns):
    return [len(waiting.entries) for waiting in await turns.take()]


async def test_what_waits_together_shares_a_turn_and_what_is_alone_has_one():
    turns = Turns()
    turns.enter([b"one"])
    assert await taken(turns) == [1]
    turns.enter([b"one"])
    turns.enter([b"two"])
    turns.enter([])
    assert await taken(turns) == [1, 1, 0]


async def test_nothing_is_taken_before_something_waits():
    turns = Turns()
    taking = asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    assert not taking.done()
    turns.enter([b"one"])
    assert len(await taking) == 1


async def test_a_large_append_goes_in_runs_behind_the_small_ones():
    turns = Turns()
    turns.enter(several(5 * RUN_ENTRIES + 1))
    turns.enter(several(SMALL))
    turns.enter([b"one"])
    first = await taken(turns)
    assert first[:2] == [SMALL, 1]
    assert sum(first[2:]) <= TURN_ENTRIES
    turns.enter([b"another"])
    assert (await taken(turns))[0] == 1


async def test_so_many_small_ones_that_they_fill_each_turn_do_not_starve_a_large_one():
    turns = Turns()
    turns.enter(several(RUN_ENTRIES * 2))
    for _ in range(2):
        for _ in range(TURN_ENTRIES // SMALL):
            turns.enter(several(SMALL))
        assert RUN_ENTRIES in await taken(turns)


async def test_a_turn_is_bounded_in_bytes():
    turns = Turns()
    for _ in range(3):
        turns.enter(several(TURN_BYTES // 60_000, size=60_000))
    sizes = [sum(waiting.size for waiting in await turns.take()) for _ in range(3)]
    assert max(sizes) < 1.5 * TURN_BYTES
    assert sum(sizes) == 3 * (TURN_BYTES // 60_000) * 60_000


async def test_whoever_has_left_is_left_out():
    turns = Turns()
    (left,) = turns.enter([b"left"])
    turns.enter([b"stayed"])
    left.done.cancel()
    assert [waiting.entries for waiting in await turns.take()] == [[b"stayed"]]
    (left,) = turns.enter([b"left"])
    left.done.cancel()
    taking = asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    assert not taking.done()
    turns.enter([b"came"])
    assert [waiting.entries for waiting in await taking] == [[b"came"]]


async def test_more_than_may_wait_is_told_to_come_back():
    turns = Turns()
    for _ in range(MAXIMUM_WAITING):
        turns.enter([b"small"])
    with pytest.raises(Unavailable, match="1024 requests wait already"):
        turns.enter([b"small"])
    for _ in range(32):
        turns.enter(several(1024, size=1))
    with pytest.raises(Unavailable, match="32768 entries of large appends wait already"):
        turns.enter(several(1024, size=1))
    assert len(turns.drain()) == MAXIMUM_WAITING + 32 * 4
    turns.enter([b"small"])
