"""`status`, `down` and their kin before a system that is young, half down, of another version, or gone."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.doubles.command_line import cloister_command
from tests.doubles.http_peers import serving

import cloister
from cloister.cli.code_changes import changed_since
from cloister.cli.state_folder import StateFolder
from cloister.cli.system_record import RoleRecord, SystemRecord, record_path, write_record
from cloister.formats.trust_policy import format_trust_policy
from cloister.hosting.http_exchange import Response
from cloister.hosting.processes import ProcessName, name_of
from cloister.testing.world import World

GONE = ProcessName(pid=1, started=1, boot="before")
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def own():
    name = name_of(os.getpid())
    assert name is not None
    return name


def role(name="kms", *, port=1, health_port=None, process=None, ready=True):
    process = process or own()
    return RoleRecord(
        name=name, port=port, process=process, ready=ready, missing="", restarts=0, log="x.log", health_port=health_port
    )


def system(state, *roles, supervisor=None):
    supervisor = supervisor or own()
    record = SystemRecord(
        phase="ready",
        supervisor=supervisor,
        relay_url="http://127.0.0.1:1",
        base_url="http://127.0.0.1:2/v1",
        roles=roles,
    )
    write_record(state, record)


@contextlib.asynccontextmanager
async def ready_route(*missing):
    """The port of a service that says that it lacks `missing`."""

    async def answer(request):
        said = json.dumps({"ready": not missing, "missing": missing}).encode()
        return Response(503 if missing else 200, [(b"content-type", b"application/json")], said)

    async with serving(answer) as origin:
        yield origin.port


async def status(state, *arguments):
    return await cloister_command("status", "--state", state.root, *arguments, home=state.root.parent)


async def test_a_role_that_was_ready_and_is_no_longer_is_shown_as_it_is_now(state):
    async with ready_route("the witnessed log") as port:
        system(state, role(health_port=port))
        ran = await status(state)
    assert ran.code == 4
    assert "not ready: the witnessed log" in ran.out
    assert "the system cannot serve yet (not ready: kms)" in ran.err


async def test_a_role_that_was_not_ready_and_is_now_is_shown_so_too(state):
    async with ready_route() as port:
        system(state, role(health_port=port, ready=False))
        ran = await status(state, "--json")
    assert (ran.code, json.loads(ran.out)["roles"][0]["ready"]) == (0, True)


async def test_a_role_without_a_route_for_it_is_ready_when_it_takes_connections(state):
    async with ready_route() as port:
        system(state, role("relay", port=port))
        assert (await status(state)).code == 0
    ran = await status(state)
    assert (ran.code, "not ready: it does not answer" in ran.out) == (4, True)


async def test_a_role_whose_process_has_ended_is_down(state):
    async with ready_route() as port:
        system(state, role(health_port=port, process=GONE))
        ran = await status(state)
    assert (ran.code, "kms      port" in ran.out, " down " in ran.out) == (4, True, True)


def manifest(package, **changes):
    digests = {
        f"source/cloister/{path.relative_to(package).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    return digests | {f"source/cloister/{name}": digest for name, digest in changes.items()}


PACKAGE = Path(cloister.__file__).parent


def test_each_file_of_ours_that_was_added_changed_or_removed_is_named():
    before = manifest(PACKAGE, **{"errors.py": "00", "gone.py": "00"})
    del before["source/cloister/secret.py"]
    assert changed_since(before | {"stdlib/os.py": "00"}) == ["errors.py", "gone.py", "secret.py"]
    assert changed_since(manifest(PACKAGE)) == []
    assert changed_since({}) == []


async def test_code_that_changed_since_the_start_is_told_with_what_to_do(state):
    async with ready_route() as port:
        system(state, role(health_port=port))
        state.manifest.write_bytes(msgspec.json.encode(manifest(PACKAGE, **{"errors.py": "00"})))
        ran = await status(state)
    assert ran.code == 0
    assert "the code changed since the start (errors.py)" in ran.out
    assert f"cloister down --state {state.root}, then cloister up --state {state.root}" in ran.out


OTHER_VERSION = {"version": 2, "phase": {"new": "shape"}, "roles": [{"process": None, "name": 3}]}


@pytest.fixture
def newer(state):
    """A process of a system whose record another version wrote."""
    with subprocess.Popen(SLEEPER) as process:
        record = OTHER_VERSION | {"supervisor": msgspec.to_builtins(name_of(process.pid))}
        record_path(state).write_bytes(msgspec.json.encode(record))
        yield process
        process.kill()


@pytest.mark.parametrize("command", ["status", "env", "verify"])
async def test_a_system_of_another_version_is_named_as_such_with_what_to_do(state, newer, command):
    state.trust_policy.write_text(format_trust_policy(World().policy(), comment="tests"))
    ran = await cloister_command(command, "--state", state.root, home=state.root.parent)
    assert ran.code == 2
    assert "was started by another version of Cloister (its record has version 2, this one reads 1)" in ran.err
    assert "end it with cloister down" in ran.err


async def test_down_ends_a_system_of_any_version(state, newer):
    ran = await cloister_command("down", "--state", state.root, home=state.root.parent)
    assert (ran.code, ran.out) == (0, "ended\n")
    assert newer.wait(5) != 0
    assert not record_path(state).exists()


@pytest.mark.parametrize("command", ["status", "down", "env"])
@pytest.mark.parametrize("data", [b"", b"{}", b'{"version": 1, "supervisor": 3}'])
async def test_a_damaged_record_is_refused_by_the_name_of_its_file_with_what_to_do(state, command, data):
    record_path(state).write_bytes(data)
    ran = await cloister_command(command, "--state", state.root, home=state.root.parent)
    assert ran.code == 1
    assert f"{record_path(state)} cannot be read" in ran.err
    assert f"the next cloister up --state {state.root} replaces the file" in ran.err


async def test_a_record_that_a_killed_system_left_is_no_system(state):
    system(state, role(port=1, process=GONE), supervisor=GONE)
    assert (await status(state)).code == 4
    ran = await cloister_command("down", "--state", state.root, home=state.root.parent)
    assert (ran.code, ran.out) == (0, f"no Cloister system runs in {state.root}\n")
