"""What starts and what ends, in which order. The invariants hold for any two manifests."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.node_manifests import sample_node

from cloister.services.deployment.plan import End, Present, Start, plan

replace = msgspec.structs.replace


def present(node, *ports, leaving=False):
    return [Present(node.name, port, node.health_port(port), node.spec(), leaving) for port in ports]


def told(steps):
    return [f"{'start' if isinstance(step, Start) else 'end'} {step.name}" for step in steps]


TWO = sample_node(name="gate", role="gateway", replicas=2, ports=(1, 2, 3))
ONE = sample_node(ports=(9,))


def test_from_nothing_all_start_in_the_manifests_order():
    assert told(plan([], [ONE, TWO])) == ["start watcher/9", "start gate/1", "start gate/2"]


def test_what_is_as_it_should_be_is_left_alone():
    assert plan(present(TWO, 1, 3), [TWO]) == ()
    assert plan(present(TWO, 1, 3), [replace(TWO, ready_seconds=1)]) == ()


def test_with_a_port_to_spare_a_new_process_is_there_before_an_old_one_ends():
    changed = replace(TWO, generation=1)
    assert told(plan(present(TWO, 1, 2), [changed])) == ["start gate/3", "end gate/1", "start gate/1", "end gate/2"]


def test_without_one_an_old_process_makes_room_one_at_a_time():
    tight = replace(TWO, ports=(1, 2))
    changed = replace(tight, generation=1)
    assert told(plan(present(tight, 1, 2), [changed])) == ["end gate/1", "start gate/1", "end gate/2", "start gate/2"]


def test_more_start_and_fewer_are_drained():
    assert told(plan(present(TWO, 1, 2), [replace(TWO, replicas=3)])) == ["start gate/3"]
    (step,) = plan(present(TWO, 1, 2), [replace(TWO, replicas=1)])
    assert step == End("gate/2", "drained")
    assert told(plan(present(TWO, 1, 2), [replace(TWO, replicas=0)])) == ["end gate/1", "end gate/2"]


def test_a_port_that_is_no_longer_named_moves():
    assert told(plan(present(TWO, 1, 2), [replace(TWO, ports=(2, 3))])) == ["start gate/3", "end gate/1"]


def test_what_is_no_longer_named_ends_last():
    gone = sample_node(name="gone", ports=(7,))
    assert told(plan([*present(gone, 7), *present(ONE, 9)], [ONE, TWO])) == [
        "start gate/1",
        "start gate/2",
        "end gone/7",
    ]


def test_unless_something_needs_its_port():
    gone = sample_node(name="gone", ports=(9,))
    assert told(plan(present(gone, 9), [ONE])) == ["end gone/9", "start watcher/9"]


def test_what_was_told_to_end_before_is_not_counted_and_is_waited_for():
    assert plan(present(ONE, 9, leaving=True), [ONE]) == (End("watcher/9", "told to end before"), Start(ONE, 9))


def test_a_relays_ports_are_a_pair():
    relay = sample_node(name="relay", role="relay", ports=(1, 2), health_ports=(11, 12))
    swapped = replace(relay, health_ports=(12, 11))
    assert told(plan(present(relay, 1), [swapped])) == ["end relay/1", "start relay/1"]
    crossing = [*present(sample_node(name="a", ports=(1,)), 1), *present(sample_node(name="b", ports=(11,)), 11)]
    assert told(plan(crossing, [replace(relay, replicas=1, ports=(1,), health_ports=(11,))])) == [
        "end a/1",
        "end b/11",
        "start relay/1",
    ]


@st.composite
def machines(draw):
    """Nodes of one machine, no port given twice."""
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=3))
    free = list(range(1, 10))
    nodes = []
    for name in names:
        ports = tuple(draw(st.permutations(free))[: draw(st.integers(0, 3))])
        free = [port for port in free if port not in ports]
        replicas = draw(st.integers(0, len(ports)))
        nodes.append(sample_node(name=name, ports=ports, replicas=replicas, generation=draw(st.integers(0, 1))))
    return nodes


@given(before=machines(), after=machines())
def test_any_manifest_becomes_any_other_one_process_at_a_time_and_no_port_is_shared(before, after):
    first = _run({}, plan([], before))
    running = _run(first, plan(list(first.values()), after))
    for node in after:
        own = [one for one in running.values() if one.node == node.name]
        assert len(own) == node.replicas
        assert all(one.spec == node.spec() and one.port in node.ports for one in own)
    assert {one.node for one in running.values()} <= {node.name for node in after}
    assert plan(list(running.values()), after) == ()


def _run(running, steps):
    running = dict(running)
    for step in steps:
        if isinstance(step, End):
            del running[step.name]
            continue
        (made,) = present(step.node, step.port)
        assert all(made.taken.isdisjoint(one.taken) for one in running.values())
        running[step.name] = made
    return running
