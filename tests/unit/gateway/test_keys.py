import asyncio
from dataclasses import replace

import pytest
from tests.doubles.sealed_client import NOON, Keys

from cloister.errors import Unavailable
from cloister.ohttp.encapsulation import UnknownKey
from cloister.services.gateway.keys import KeyRing


class Clock:
    def __init__(self):
        self.time = float(NOON)

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


class SlowKeys(Keys):
    """Answers when the gate opens."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()
        self.down = False

    async def key_for(self, key_id):
        key = super().key_for(key_id)
        await self.gate.wait()
        if self.down:
            key.close()
            self.asked.append(key_id)
            raise Unavailable("the KMS is away")
        return await key


async def test_a_key_is_asked_for_once(clock):
    source = Keys()
    ring = KeyRing(source, now=clock)
    assert await ring.key_for(7) is await ring.key_for(7) is source.key
    assert source.asked == [7]


async def test_callers_that_miss_the_same_key_wait_together_and_one_that_leaves_ends_nothing(clock):
    source = SlowKeys()
    ring = KeyRing(source, now=clock)
    callers = [asyncio.create_task(ring.key_for(7)) for _ in range(5)]
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*callers[1:]) == [source.key] * 4
    assert source.asked == [7]


async def test_an_unknown_key_is_remembered_for_a_short_while(clock):
    source = Keys()
    ring = KeyRing(source, now=clock)
    for _ in range(3):
        with pytest.raises(UnknownKey):
            await ring.key_for(8)
    assert source.asked == [8]
    clock.time += 5
    with pytest.raises(UnknownKey):
        await ring.key_for(8)
    assert source.asked == [8, 8]


async def test_a_kms_that_is_away_is_asked_again_at_once(clock):
    source = SlowKeys()
    source.down = True
    source.gate.set()
    ring = KeyRing(source, now=clock)
    with pytest.raises(Unavailable):
        await ring.key_for(7)
    source.down = False
    assert await ring.key_for(7) is source.key


async def test_a_key_ends_with_its_stale_window_even_if_the_source_still_gives_it(clock):
    source = Keys()
    ring = KeyRing(source, now=clock)
    await ring.key_for(7)
    clock.time = source.key.open_until
    with pytest.raises(UnknownKey):
        await ring.key_for(7)


async def test_a_key_that_the_source_drops_opens_nothing_any_more(clock):
    source = Keys()
    ring = KeyRing(source, now=clock)
    await ring.key_for(7)
    source.given.clear()
    source.key = replace(source.key, key_id=9)
    with pytest.raises(UnknownKey):
        await ring.key_for(7)


async def test_a_key_that_the_source_gets_by_itself_ends_the_memory_of_its_miss(clock):
    source = Keys()
    ring = KeyRing(source, now=clock)
    with pytest.raises(UnknownKey):
        await ring.key_for(8)
    source.key = replace(source.key, key_id=8)
    source.given.add(8)
    assert await ring.key_for(8) is source.key
