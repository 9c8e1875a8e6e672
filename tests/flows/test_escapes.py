"""The escape suite on this machine: everything is stopped inside, and the controls show that it was tried."""

import asyncio
import json
import struct
from dataclasses import replace

import pytest
from msgspec import structs
from tests.doubles.command_line import cloister_command
from tests.doubles.sandbox_tools import require_tool
from tests.doubles.sandboxes import traversable_folder

from cloister.sandbox.escapes import suite, sysctls
from cloister.sandbox.escapes.suite import Attempt, Outcome, SampleModel, attempts, try_all
from cloister.sandbox.plan import plan
from cloister.sandbox.sizes import Sizes

ALLOW_EVERYTHING = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)


OPEN = {
    "bwrap": {"speak to the machine's kernel"},
    "gvisor": set(),
    "landlock": {
        "look at the machine's users without opening them",
        "find other processes by their numbers",
        "find other processes in /proc by their numbers",
        "learn the machine's name",
        "speak to the machine's kernel",
    },
}


@pytest.fixture(scope="module", params=["bwrap", "gvisor", "landlock"])
def report(request, tmp_path_factory):
    require_tool(request.param)
    asked = ("sandbox", "test", "--json", "--tool", request.param)
    ran = asyncio.run(cloister_command(*asked, home=tmp_path_factory.mktemp("home")))
    return json.loads(ran.out) | {"code": ran.code}


def test_there_are_more_than_ninety_attempts_of_every_room_each_with_a_name_of_its_own():
    names = [(attempt.room, attempt.name) for attempt in attempts(on_model=True)]
    assert len(set(names)) == len(names) > 90
    assert {room for room, _ in names} == {"sockets", "files", "processes", "kernel", "traces", "model"}
    assert set(attempts()) == {attempt for attempt in attempts(on_model=True) if attempt.room != "model"}


def test_every_attempt_that_the_tier_denies_is_stopped_and_those_that_anyone_may_make_work_outside(report):
    assert {outcome["name"] for outcome in report["outcomes"] if not outcome["due"]} == OPEN[report["tool"]]
    assert [one for one in report["outcomes"] if one["due"] and one["verdict"] not in ("denied", "ended")] == []
    assert [outcome["name"] for outcome in report["outcomes"] if outcome["outside"] is False] == []
    assert sum(outcome["outside"] is True for outcome in report["outcomes"]) >= 40
    assert (report["held"], report["code"], len(report["outcomes"])) == (True, 0, len(attempts()))


def test_what_a_tier_does_not_deny_works_in_it_so_that_it_says_no_less_than_it_is(report):
    assert {one["name"] for one in report["outcomes"] if one["verdict"] == "escaped"} == OPEN[report["tool"]]


def test_each_tier_denies_all_that_those_before_it_do():
    from_tier = {attempt.denied_from for attempt in attempts()}
    assert from_tier == {"contents", "namespaces", "kernel"}  # what Landlock adds is denied by something else as well


def test_no_setting_of_the_machine_is_changed(report):
    assert report["changed_settings"] == []
    assert len(sysctls.settings()) > 100


def test_a_setting_that_differs_is_found():
    assert sysctls.changed({"kernel/a": "0", "kernel/b": "0"}, {"kernel/a": "1", "kernel/b": "0"}) == ["kernel/a"]


def test_an_engine_is_gone_soon_after_its_launcher_was_killed(report):
    assert 0 < report["end_milliseconds"] < 5000  # a few on an idle machine; the figure is printed


HOLDING = Sizes().holding(SampleModel.files)


async def tried(planned, *rooms):
    """What becomes of all attempts of these rooms."""
    with traversable_folder() as folder:
        (folder / "run").rmdir()
        chosen = [attempt for attempt in attempts(on_model=True) if attempt.room in rooms]
        return [outcome async for outcome in try_all(planned, folder, chosen)]


def left_to_a_server(rooms):
    """What the table in docs/sandbox.md leaves to one, by the names of attempts."""
    return {name for room in rooms for name in getattr(suite.ROOMS[room], "LEFT_TO_A_SERVER", ())}


@pytest.mark.parametrize(
    ("confinement", "rooms", "left"),
    [
        ("worker", ["model"], set()),
        ("server", [*suite.ROOMS], left_to_a_server(suite.ROOMS)),
        ("loopback", ["sockets", "model"], left_to_a_server(["sockets", "model"]) | {"a TCP socket"}),
    ],
)
async def test_an_engine_with_a_model_may_do_what_is_left_to_its_confinement_and_nothing_else(confinement, rooms, left):
    outcomes = await tried(plan(HOLDING, confinement=confinement), *rooms)
    assert [one for one in outcomes if not one.held] == []
    assert {one.name for one in outcomes if one.verdict == "allowed"} == left


async def test_without_its_filters_and_landlock_an_engine_changes_its_model_and_the_suite_says_so():
    planned = plan(HOLDING)
    filters = dict.fromkeys(("outer_filter", "inner_filter", "request_filter"), ALLOW_EVERYTHING)
    loose = structs.replace(planned.profile, landlock=structs.replace(planned.profile.landlock, abi=0), **filters)
    outcomes = await tried(replace(planned, profile=loose), "model")
    escaped = {one.name for one in outcomes if one.verdict == "escaped"}
    assert {"write to the model as its owner", "add a file to the model as its owner"} < escaped
    assert not any(one.held for one in outcomes if one.name in escaped and one.due)


async def test_without_its_filters_the_sandbox_lets_things_through_and_the_suite_says_so():
    planned = plan()
    filters = dict.fromkeys(("outer_filter", "inner_filter", "request_filter"), ALLOW_EVERYTHING)
    loose = structs.replace(planned.profile, **filters)
    chosen = [Attempt("sockets", "a TCP socket"), Attempt("processes", "fork"), Attempt("files", "list /var")]
    with traversable_folder() as folder:
        (folder / "run").rmdir()
        outcomes = [outcome async for outcome in try_all(replace(planned, profile=loose), folder, chosen)]
    assert [(outcome.name, outcome.verdict, outcome.held) for outcome in outcomes] == [
        ("a TCP socket", "escaped", False),
        ("fork", "escaped", False),
        ("list /var", "denied", True),
    ]


async def test_without_the_filter_of_its_requests_they_leave_traces_and_the_suite_says_so():
    planned = plan()
    loose = replace(planned, profile=structs.replace(planned.profile, request_filter=ALLOW_EVERYTHING))
    outcomes = await tried(loose, "traces")
    assert {one.name for one in outcomes if one.verdict == "escaped"} >= suite.ROOMS["traces"].OUTSIDE
    assert not any(one.held for one in outcomes if one.verdict == "escaped")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b'{"did": "a socket"}', "escaped"),
        (b'{"stopped": "PermissionError", "errno": 1, "why": "no"}', "denied"),
        (b'{"broken": "NameError: x"}', "broken"),
        (b"rubbish", "broken"),
    ],
)
def test_what_the_probe_says_is_judged_by_its_own_words(answer, verdict):
    assert suite.judge(answer)[0] == verdict


@pytest.mark.parametrize("change", [{"verdict": "escaped"}, {"verdict": "broken"}, {"outside": False}, {"due": False}])
def test_an_attempt_counts_as_held_only_where_it_was_stopped_and_was_a_real_one(change):
    held = Outcome(room="files", name="x", verdict="denied", how="", outside=True)
    assert held.held
    assert not structs.replace(held, **change).held
