"""A long log is opened on all processors and means what it means entry by entry."""

import pytest

from cloister.contract.fold import advance, begin, fold
from cloister.contract.replay import LogRefused
from cloister.crypto.merkle import leaf_hash, root
from cloister.crypto.signing import SigningKey
from cloister.formats.release import Revocation
from cloister.ledger.statements import open_statements, sign_statement
from cloister.node.witnessed_clock import WitnessedClock
from cloister.services.kms.history import FEW, PAGE, History
from cloister.services.kms.opening import AT_ONCE, open_on_all_processors
from cloister.testing.memory_ledger import MemoryLedger
from cloister.testing.world import NOON, World

KEY = SigningKey.generate()


def noise(number):
    record = Revocation(contract=bytes(32), target=number.to_bytes(32, "big"), reason="noise")
    return sign_statement("revocation", record, [KEY])


@pytest.fixture
def world():
    """With a release, an entry that is none and one that is not signed as it says, far down in the log."""
    world = World()
    later = world.log.entries.pop()
    for number in range(PAGE):
        world.log.append(noise(number))
    world.log.append(b"no entry")
    world.log.append(noise(0)[:-1] + b"x")
    world.log.append(later)
    return world


def history(world):
    ledger = MemoryLedger(world.log, clock=lambda: NOON)
    return History(ledger, genesis=world.constitution, clock=WitnessedClock(lambda: NOON))


async def test_a_long_log_folds_as_entry_by_entry(world):
    followed = history(world)
    await followed.follow(world.log.checkpoint(at=NOON))
    first, *rest = world.log.entries
    state = begin(first, genesis=world.constitution.digest())
    for entry in rest:
        state = advance(state, entry)
    assert followed.state == state
    assert state.void == PAGE + 2
    assert followed.checkpoint.root == root([leaf_hash(entry) for entry in world.log.entries])


async def test_what_is_added_is_followed_however_much_it_is(world):
    followed = history(world)
    for more in (0, 1, FEW, FEW + 1):
        for _ in range(more):
            world.log.append(noise(len(world.log.entries)))
        await followed.follow(world.log.checkpoint(at=NOON))
        assert followed.state.size == followed.log.tree.size == len(world.log.entries)


async def test_a_long_log_that_does_not_add_up_is_refused_and_changes_nothing(world):
    followed = history(world)
    await followed.follow(world.log.checkpoint(at=NOON))
    size = len(world.log.entries)
    for number in range(FEW + 1):
        world.log.append(noise(10_000 + number))
    note = world.log.checkpoint(at=NOON)
    world.log.entries[size] = noise(99_999)
    with pytest.raises(LogRefused, match=r"kms\.log"):
        await followed.follow(note)
    assert followed.state.size == size


@pytest.mark.parametrize("number", [0, 1, AT_ONCE, 3 * AT_ONCE + 1])
def test_opened_on_all_processors_each_is_what_it_is_by_itself(number):
    entries = [noise(one) if one % 5 else b"none" for one in range(number)]
    opened, alone = list(open_on_all_processors(entries)), open_statements(entries)
    assert [str(one) for one in opened] == [str(one) for one in alone]


def test_an_opening_that_says_too_little_ends_the_fold(world):
    first, *rest = world.log.entries
    with pytest.raises(ValueError, match="shorter"):
        fold(
            begin(first, genesis=world.constitution.digest()), rest[:5], opening=lambda some: open_statements(some[1:])
        )
