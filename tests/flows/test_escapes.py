"""The escape suite on this machine: everything is stopped inside, and the controls show that it was tried."""

import asyncio
import json
import struct
from dataclasses import replace

import pytest
from msgspec import structs
from tests.doubles.command_line import cloister_command
from tests.doubles.sandboxes import traversable_folder

from cloister.sandbox.escapes import suite, sysctls
from cloister.sandbox.escapes.suite import Attempt, Outcome, attempts, try_all
from cloister.sandbox.plan import plan

ALLOW_EVERYTHING = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    ran = asyncio.run(cloister_command("sandbox", "test", "--json", home=tmp_path_factory.mktemp("home")))
    return json.loads(ran.out) | {"code": ran.code}


def test_there_are_more_than_ninety_attempts_of_every_room_each_with_a_name_of_its_own():
    names = [(attempt.room, attempt.name) for attempt in attempts()]
    assert len(set(names)) == len(names) > 90
    assert {room for room, _ in names} == {"sockets", "files", "processes", "kernel"}


def test_every_attempt_is_stopped_and_those_that_anyone_may_make_work_outside(report):
    assert [outcome for outcome in report["outcomes"] if outcome["verdict"] not in ("denied", "ended")] == []
    assert [outcome["name"] for outcome in report["outcomes"] if outcome["outside"] is False] == []
    assert sum(outcome["outside"] is True for outcome in report["outcomes"]) >= 40
    assert (report["held"], report["code"], len(report["outcomes"])) == (True, 0, len(attempts()))


def test_no_setting_of_the_machine_is_changed(report):
    assert report["changed_settings"] == []
    assert len(sysctls.settings()) > 100


def test_a_setting_that_differs_is_found():
    assert sysctls.changed({"kernel/a": "0", "kernel/b": "0"}, {"kernel/a": "1", "kernel/b": "0"}) == ["kernel/a"]


def test_an_engine_is_gone_soon_after_its_launcher_was_killed(report):
    assert 0 < report["end_milliseconds"] < 5000  # a few on an idle machine; the figure is printed


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


@pytest.mark.parametrize("change", [{"verdict": "escaped"}, {"verdict": "broken"}, {"outside": False}])
def test_an_attempt_counts_as_held_only_where_it_was_stopped_and_was_a_real_one(change):
    held = Outcome(room="files", name="x", verdict="denied", how="", outside=True)
    assert held.held
    assert not structs.replace(held, **change).held
