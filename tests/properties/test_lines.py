"""A shared map is a dict that nobody changes; and witnesses' words are passed on to exactly those who heed them."""

from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cloister.contract.governed import Governed, Heeds, Proposal, Witnessed, heeds, told
from cloister.contract.lines import Lines
from cloister.contract.placed import Placed
from cloister.contract.shared_map import SharedMap
from cloister.contract.state import ContractLine
from cloister.formats.contract import Contract
from cloister.testing.world import World

CONTRACT = World().contract
NOTICE, WINDOW = 50, 90
RULES = msgspec.structs.replace(CONTRACT.changes, notice_seconds=NOTICE, window_seconds=WINDOW)

keys = st.integers(0, 150)
changes = st.lists(st.tuples(keys, st.none() | st.integers()), max_size=400)


@given(changes)
def test_a_shared_map_is_a_dict_and_its_copies_stay_as_they_were(made):
    shared, model, kept = SharedMap[int, int](), dict[int, int](), []
    for number, (key, value) in enumerate(made):
        before, known = shared, dict(model)
        if value is None:
            shared = shared.without(key)
            model.pop(key, None)
        else:
            shared = shared.put(key, value)
            model[key] = value
        if number % 40 == 0:
            kept.append((before, known))
        assert set(shared.differing(before)) <= {key}
    assert dict(shared.items()) == model
    assert (len(shared), shared.get(-1)) == (len(model), None)
    assert all(dict(copy.items()) == known and len(copy) == len(known) for copy, known in kept)
    assert set(shared.differing(SharedMap())) == set(model)


@given(st.lists(keys, max_size=150, unique=True))
def test_keys_come_in_the_order_in_which_they_were_put(order):
    shared = SharedMap[int, int]()
    for key in order:
        shared = shared.put(key, key)
    for key in order[::2]:
        shared = shared.put(key, -key)
    assert list(shared) == order


times = st.none() | st.integers(0, 200)


@st.composite
def proposals(draw):
    """One of any standing, with any times that it may have."""
    index = draw(st.integers(1, 20))
    standing = draw(st.sampled_from(["open", "passed", "vetoed", "lapsed"]))
    passed = draw(st.integers(index, 25)) if standing == "passed" else None
    noticed = draw(times) if passed is not None else None
    return Proposal(
        placed=Placed(index, b"", draw(st.binary(min_size=32, max_size=32))),
        successor=msgspec.structs.replace(CONTRACT, sequence=1, not_after=draw(st.integers(0, 10**9))),
        proposer="operator",
        approvals=frozenset(),
        standing=standing,
        public=draw(times),
        passed_at=passed,
        noticed=noticed,
        notice=None if noticed is None else Placed(26, b"", bytes(32)),
    )


governed = st.lists(proposals(), max_size=4, unique_by=lambda one: one.placed.digest).map(
    lambda made: Governed((), msgspec.structs.replace(CONTRACT, changes=RULES), CONTRACT.digest(), 0, tuple(made))
)
witnessed = st.builds(Witnessed, st.integers(0, 30), st.integers(0, 300), st.integers(0, 300))
HERE = Placed(30, b"", b"t" * 32)


def meaning(one):
    """All that decides anything later: since when it is public, only while a proposal is open."""
    left = [replace(two, public=two.public if two.standing == "open" else None) for two in one.proposals]
    return one.digest, left


@given(governed, witnessed)
def test_who_heeds_nothing_of_what_witnesses_say_is_not_changed_by_it(before, said):
    heeded = heeds(before)
    if heeded is None or not heeded.by(said):
        assert meaning(told(before, said, HERE)) == meaning(before)


@given(governed)
def test_who_heeds_something_is_changed_by_what_it_heeds(before):
    heeded = heeds(before)
    if heeded is None:
        return
    for said in (Witnessed(10**6, 0, 10**6), Witnessed(0, 10**6, 10**6), Witnessed(10**6, 0, -1)):
        if heeded.by(said):
            assert meaning(told(before, said, HERE)) != meaning(before)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1), governed), max_size=12), witnessed)
def test_lines_are_found_as_if_all_were_looked_at(made, said):
    lines, model = Lines[ContractLine](), dict[bytes, Governed[Contract]]()
    for number, (name, one) in enumerate(made):
        # No two lines ever have one contract in force, or one proposal.
        motions = tuple(
            replace(two, placed=replace(two.placed, digest=name + two.placed.digest)) for two in one.proposals
        )
        after = replace(one, digest=name + bytes([number]), proposals=motions)
        lines, model[name] = lines.put(name, ContractLine(after)), after
    assert {name: line.governed for name, line in lines.items()} == model
    heeding = {name: heeds(one) or Heeds(10**9, 10**9, -1) for name, one in model.items()}
    assert sorted(lines.heeding(said)) == sorted(name for name, one in heeding.items() if one.by(said))
    for name, one in model.items():
        assert lines.in_force(one.digest) == (name, lines[name])
        for motion in one.proposals:
            assert lines.with_proposal(motion.placed.digest) == (name, lines[name])
    gone = {name + bytes([number]) for number, (name, _) in enumerate(made)} - {one.digest for one in model.values()}
    assert all(lines.in_force(digest) is None for digest in gone)
