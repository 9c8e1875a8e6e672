import pytest

from cloister.contract.replay import LogRefused, examine_first_log, examine_growth
from cloister.testing.memory_log import MemoryLog
from cloister.testing.world import NOON, World


@pytest.fixture
def world():
    return World()


def first(world, **changes):
    given = {"entries": world.log.entries, "note": world.log.checkpoint(at=NOON)} | changes
    return examine_first_log(given["entries"], given["note"], genesis=world.constitution.digest())


def test_a_log_that_adds_up_folds_to_its_state(world):
    replayed = first(world).require()
    assert replayed.state.size == replayed.checkpoint.size == 5
    assert replayed.state.void == 0


def test_a_log_that_grew_is_taken_on(world):
    known = first(world).require()
    world.log.append(b"noise")
    grown = examine_growth(known, [b"noise"], world.log.checkpoint(at=NOON)).require()
    assert (grown.state.size, grown.state.void) == (6, 1)


def test_a_growth_that_is_refused_changes_nothing_of_what_is_known(world):
    known = first(world).require()
    world.log.append(b"noise")
    note = world.log.checkpoint(at=NOON)
    assert examine_growth(known, [b"other noise"], note).failed == ["kms.log"]
    assert examine_growth(known, [b"noise"], note).failed == []


def other_genesis(world):
    return first(World(), entries=world.log.entries)


def empty_log(world):
    return first(world, entries=[])


def no_constitution_first(world):
    return first(world, entries=[b"noise", *world.log.entries])


def other_origin(world):
    return first(world, note=world.log.checkpoint(at=NOON, origin="log.test/other"))


def too_few_witnesses(world):
    return first(world, note=world.log.checkpoint(at=NOON, cosigners=1))


def another_log(world):
    log = MemoryLog(witnesses=2)
    log.entries = world.log.entries
    return first(world, note=log.checkpoint(at=NOON))


def left_out(world):
    return first(world, entries=world.log.entries[:-1])


def altered(world):
    return first(world, entries=[*world.log.entries[:-1], b"noise"])


def rolled_back(world):
    known = first(world).require()
    world.log.entries.pop()
    return examine_growth(known, [], world.log.checkpoint(at=NOON))


def forked(world):
    known = first(world).require()
    world.log.entries[-1] = b"noise"
    world.log.append(b"more")
    return examine_growth(known, [b"more"], world.log.checkpoint(at=NOON))


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        pytest.param(other_genesis, "kms.genesis", marks=pytest.mark.breaks("kms.genesis")),
        pytest.param(empty_log, "kms.genesis"),
        pytest.param(no_constitution_first, "kms.genesis"),
        pytest.param(other_origin, "checkpoint.origin"),
        pytest.param(too_few_witnesses, "checkpoint.witnesses"),
        pytest.param(left_out, "kms.log", marks=pytest.mark.breaks("kms.log")),
        pytest.param(altered, "kms.log"),
        pytest.param(forked, "kms.log"),
        pytest.param(rolled_back, "kms.log-continuity", marks=pytest.mark.breaks("kms.log-continuity")),
    ],
)
def test_each_broken_log_is_refused_by_its_own_check_alone(world, broken, check):
    examination = broken(world)
    assert examination.failed == [check]
    with pytest.raises(LogRefused, match=check):
        examination.require()


def test_a_log_that_another_key_signed_is_refused(world):
    assert "checkpoint.signature" in another_log(world).failed
