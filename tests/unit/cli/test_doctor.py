"""What `cloister doctor` says of machines that lack one thing."""

import json
import re
from importlib import metadata

import msgspec
import pytest
from tests.doubles.command_line import cloister_command

from cloister.cli.doctor import NODE_LIBRARIES, SEARCH, look
from cloister.cli.state_folder import StateFolder
from cloister.formats import canonical
from cloister.sandbox import plan
from cloister.trust.memory import first_contact


@pytest.fixture
def state(tmp_path):
    return StateFolder(tmp_path)


def findings(state, **options):
    return {finding.name: finding for finding in look(state, **options)}


def test_programs_are_looked_for_where_the_sandbox_looks():
    assert plan._SEARCH == SEARCH


def test_every_library_that_it_looks_for_is_one_that_cloister_node_brings():
    brought = " ".join(metadata.distribution("cloister").requires or ())
    assert [name for name in NODE_LIBRARIES if not re.search(rf"\b{name}\b[^;]*; extra == .node.", brought)] == []


def test_missing_programs_are_named_once_with_their_package_and_the_sandbox_is_not_tried(state):
    found = findings(state, search="/nowhere")
    assert (found["bwrap"].advice, found["setpriv"].advice) == (
        "apt-get install bubblewrap",
        "apt-get install util-linux",
    )
    assert (found["sandbox"].found, found["sandbox"].advice) == ("not tried without bwrap and setpriv", "")
    assert "cgroups" not in found


def test_wrong_settings_are_told_with_the_command_that_names_them(state):
    state.settings.write_text('engine = "telepathy"\n')
    found = findings(state)["settings"]
    assert "engine 'telepathy' is none: there are speech, echo, " in found.found
    assert found.advice == f"cloister config check {state.settings}"


def test_good_settings_and_none_are_good(state):
    assert "settings" not in findings(state)
    state.settings.write_text('engine = "echo"\n')
    assert findings(state)["settings"].verdict == "good"


async def test_a_clock_behind_what_was_seen_already_keeps_a_client_from_working(tmp_path, state):
    state.memory.write_bytes(canonical.encode(msgspec.structs.replace(first_contact(b"0" * 32), cosigned_at=2**32)))
    ran = await cloister_command("doctor", "--json", "--state", tmp_path, home=tmp_path)
    clock = next(finding for finding in json.loads(ran.out) if finding["name"] == "clock")
    assert (ran.code, clock["verdict"], clock["found"][-35:]) == (1, "bad", "UTC is before what was seen already")
    assert "this machine cannot run Cloister yet: clock" in ran.err
