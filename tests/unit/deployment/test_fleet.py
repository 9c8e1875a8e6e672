"""Processes of nodes, found and told to end: by their names, by their settings files, and never twice."""

import asyncio
import contextlib
import json
import os
import signal
import sys

import pytest
from tests.doubles.http_peers import serving
from tests.doubles.node_manifests import sample_node

from cloister.hosting.http_exchange import Response
from cloister.hosting.processes import ProcessName, name_of
from cloister.services.deployment.fleet import Fleet, Member, NotReady
from cloister.services.deployment.node_process import NodeProcess, find
from cloister.storage.database import Database
from cloister.storage.deployment_store import DeploymentStore, KeptProcess

WAITS = "import time; time.sleep(600)"
LEAVES = (
    "import signal, time; signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))\n"
)
LEAVES += "print('cloister: caught', flush=True)\nwhile True: time.sleep(0.02)"
WORKLOAD = b"\xab" * 48


@pytest.fixture
async def started(tmp_path):
    """Starts programs, each with these arguments; all end with the test."""
    made = []

    def start(program, *arguments):
        process = NodeProcess.start([sys.executable, "-c", program, *map(str, arguments)], log=tmp_path / "log")
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        assert await process.wait(10)


@pytest.fixture
async def fleet(tmp_path):
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    database = await Database.open(tmp_path / "deployment.sqlite", migrations="deployment")
    fleet = Fleet(tmp_path, DeploymentStore(database), None, lambda: 0, lambda sentence: None)
    yield fleet
    await fleet.leave()
    await database.close()


async def test_a_process_leads_a_session_of_its_own_with_no_environment_of_ours(started, tmp_path):
    process = started("import os, sys; print('cloister: ' + str(sorted(os.environ)), file=sys.stderr); sys.exit(3)")
    assert os.getsid(process.named.pid) == process.named.pid or process.ended.is_set()
    assert await process.wait(10)
    assert process.how() == "['GLIBC_TUNABLES', 'HOME', 'LANG', 'PATH']"
    assert process.code == 3


async def test_how_a_process_ended_is_said(started):
    killed, silent = started(WAITS), started("raise SystemExit(5)")
    killed.kill()
    assert await killed.wait(10)
    assert await silent.wait(10)
    assert (killed.how(), silent.how()) == ("killed by SIGKILL", "exit code 5")


async def test_a_process_is_found_by_its_name_until_it_ends_and_never_another_with_its_number(started, tmp_path):
    named = started(WAITS).named
    again = NodeProcess.found(named, log=tmp_path / "log")
    assert again is not None
    assert not again.ended.is_set()
    other = ProcessName(pid=named.pid, started=named.started + 1, boot=named.boot)
    assert NodeProcess.found(other, log=tmp_path / "log") is None
    os.kill(named.pid, signal.SIGKILL)
    assert await again.wait(10)
    assert NodeProcess.found(named, log=tmp_path / "log") is None


async def test_a_process_whose_start_was_not_written_down_is_found_by_its_settings_file(started, fleet):
    node = sample_node(ports=(7101,))
    config = fleet.folder / "run" / "watcher-7101.toml"
    assert find(config) is None
    process = started(WAITS, "--config", config)
    while find(config) is None:  # noqa: ASYNC110 - while it is still being started
        await asyncio.sleep(0.01)
    assert find(config) == process.named
    assert await fleet.adopt(KeptProcess(node, 7101, 1, 0, None))
    assert fleet.members["watcher/7101"].process.named == process.named
    (kept,) = await fleet.store.processes()
    assert kept.process == (process.named.pid, process.named.started, process.named.boot)


async def test_a_process_that_is_gone_is_forgotten(fleet):
    kept = KeptProcess(sample_node(ports=(7101,)), 7101, 1, 0, (1, 1, "another boot"))
    await fleet.store.keep(kept)
    assert not await fleet.adopt(kept)
    assert await fleet.store.processes() == ()


async def test_a_process_that_was_told_to_end_is_not_told_again_by_who_finds_it(started, fleet):
    node = sample_node(ports=(7101,), drain_seconds=1)
    process = started(LEAVES)
    while not (fleet.folder / "log").read_text():  # noqa: ASYNC110 - a file sets no event
        await asyncio.sleep(0.01)
    assert not process.was_told()
    (fleet.folder / "run" / "watcher-7101.ready").touch()
    process.tell_to_end()
    while not process.was_told():  # noqa: ASYNC110 - another process sets none
        await asyncio.sleep(0.01)
    named = (process.named.pid, process.named.started, process.named.boot)
    assert await fleet.adopt(KeptProcess(node, 7101, 1, 0, named))
    member = fleet.members["watcher/7101"]
    assert member.present().leaving
    ending = asyncio.create_task(fleet.end(member))
    await asyncio.sleep(0.2)  # a second SIGTERM would have ended it
    assert name_of(process.named.pid) == process.named
    process.kill()
    await ending
    assert fleet.members == {}


@contextlib.asynccontextmanager
async def gateway(fleet, process, workload):
    """A member whose process answers that it is ready and measured `workload`."""

    async def answer(request):
        version = {"service": "gateway"} | ({"workload": workload.hex()} if workload else {})
        told = {"/ready": {"ready": True, "missing": []}, "/version": version}[request.target]
        return Response(200, [(b"content-type", b"application/json")], json.dumps(told).encode())

    async with serving(answer) as origin:
        node = sample_node(name="gate", role="gateway", workload=WORKLOAD)
        member = Member(node, 7101, 1, str(origin).rstrip("/"), process=process)
        (fleet.folder / "run" / "gate-7101.ready").touch()
        yield member


async def test_a_gateway_that_measured_what_the_manifest_expects_is_ready(started, fleet):
    async with gateway(fleet, started(WAITS), WORKLOAD) as member:
        await fleet.until_ready(member, seconds=10)


async def test_one_that_measured_something_else_has_failed_at_once_and_is_told_with_both(started, fleet):
    async with gateway(fleet, started(WAITS), bytes(48)) as member:
        with pytest.raises(NotReady, match=f"it measured the workload {'00' * 48}, and the manifest expects abab"):
            await fleet.until_ready(member, seconds=600)


async def test_one_that_tells_no_measurement_is_not_ready(started, fleet):
    async with gateway(fleet, started(WAITS), b"") as member:
        with pytest.raises(NotReady, match=r"was not ready in 0.2 s: it does not say what it measured"):
            await fleet.until_ready(member, seconds=0.2)
