"""What sections hold reaches the engine inside its sandbox, and nothing outside shows it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.doubles import traces
from tests.doubles.sandboxes import FAULTY, SMALL, post, staged
from tests.doubles.section_world import OWNERS, SectionWorld, sample_section

from cloister.contract.task_assets import task_assets
from cloister.formats.section import MAXIMUM_FILES, encode_section
from cloister.sandbox.closure import ECHO
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.escapes.launcher import descendants
from cloister.sandbox.plan import plan
from cloister.sandbox.process import RunningEngine
from cloister.sandbox.service import EngineService
from cloister.services.gateway.given_engine import GivenEngine

CANARY = "the-canary-that-a-section-holds-0123456789"
MARKS = {"canary": {CANARY.encode()}}
PATH = "deep/er/words.txt"
CONTRACT = SectionWorld().contract
FORM = (
    b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF-\r\n--b--\r\n'
)


def given(*, variables=None, files=None):
    """The three sections of a task, as a node that examined them has them; the operator's holds this."""
    return assets(variables=variables, files=files).sections


def assets(*, variables=None, files=None):
    """All that the parties of the task give it."""
    sections = {kind: sample_section(kind) for kind in OWNERS}
    sections["environment"] = sample_section("environment", variables=variables or {}, files=files or {})
    values = {kind: encode_section(section) for kind, section in sections.items()}
    return task_assets(values, CONTRACT, task="serve", model=None)


@pytest.fixture(scope="module")
def faulty():
    with staged(FAULTY) as ready:
        yield ready


async def test_the_engine_has_variables_and_files_and_changes_none_of_them(faulty):
    holding = given(variables={"TOKEN": CANARY}, files={PATH: b"\x00\xff"})
    async with faulty.service(given=holding) as service:
        read = f"""
import json, pathlib
sections = pathlib.Path('/sections')
result = json.loads((sections / '.variables.json').read_bytes())['TOKEN'], (sections / '{PATH}').read_bytes()
"""
        assert (await post(service, "/run", read.encode())).body.decode() == f"did it: {(CANARY, bytes([0, 255]))}"
        for change in (
            "open('/sections/other', 'w')",
            f"open('/sections/{PATH}', 'w')",
            f"__import__('os').unlink('/sections/{PATH}')",
        ):
            assert b"stopped: PermissionError" in (await post(service, "/run", f"result = {change}".encode())).body


async def test_nothing_outside_the_engine_shows_them(faulty):
    async with faulty.service(given=given(variables={"TOKEN": CANARY}, files={PATH: CANARY.encode()})) as service:
        (seat,) = service._seats
        processes = descendants(seat.engine.pid) | {seat.engine.pid}
        assert len(processes) > 1
        for pid in processes | {os.getpid()}:
            assert traces.found(MARKS, _shown(pid)) == set(), pid
            assert _in_open_files(pid) == set(), pid
        there, looked_at = traces.in_files(MARKS, faulty.folder, since=0)
    assert (there, looked_at > 0) == ({}, True)


def test_the_same_search_finds_them_where_they_are_an_environment_or_an_argument():
    waits = (sys.executable, "-I", "-S", "-c", "print(flush=True); input()")
    started = subprocess.Popen(waits, env={"TOKEN": CANARY}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    argument = subprocess.Popen((*waits, CANARY), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        for process in (started, argument):
            assert process.stdout is not None
            process.stdout.readline()
            assert traces.found(MARKS, _shown(process.pid)) == {"canary"}
    finally:
        for process in (started, argument):
            process.kill()
            process.communicate()


def _in_open_files(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # ended, or only root may look
        return traces.in_open_files(MARKS, pid)
    return set()


def _shown(pid):
    """What the kernel shows of a process to its user and to root; of one that has ended, nothing."""
    try:
        return b"".join(Path(f"/proc/{pid}/{page}").read_bytes() for page in ("cmdline", "environ"))
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.parametrize("name", ["LISTEN_FD", "LD_PRELOAD", "OPENSSL_CONF", "PYTHONPATH"])
async def test_what_a_section_names_is_in_no_environment_and_so_loads_nothing(faulty, name):
    async with faulty.service(given=given(variables={name: CANARY})) as service:
        read = f"import os; result = os.environ.get('{name}') == {CANARY!r}"
        assert (await post(service, "/run", read.encode())).body == b"did it: False"


async def test_as_many_files_as_a_section_can_hold_are_there(faulty):
    many = given(files={f"{number}/{'deep/' * 20}file": b"x" * 900 for number in range(MAXIMUM_FILES)})
    async with faulty.service(given=many) as service:
        count = "import os; result = sum(len(files) for _, _, files in os.walk('/sections'))"
        others = len(OWNERS) - 1
        assert (
            await post(service, "/run", count.encode())
        ).body.decode() == f"did it: {MAXIMUM_FILES + others + 1}"  # of variables


async def test_the_operators_section_limits_what_a_client_sends():
    with staged(ECHO) as echo:
        content = ("content-type", "multipart/form-data; boundary=b")
        for limit, status in (("4", 413), ("5", 200)):
            async with echo.service(given=given(variables={"MAXIMUM_FILE_BYTES": limit})) as service:
                answer = await post(service, "/v1/audio/transcriptions", FORM, content)
                assert answer.status == status
                assert (b"at most 4 bytes" in answer.body) == (status == 413)
        with pytest.raises(SandboxUnavailable, match="it cannot use what its sections hold"):
            async with echo.service(given=given(variables={"MAXIMUM_FILE_BYTES": "many"})):
                pass


async def test_another_engine_takes_the_place_of_one_whose_sections_changed():
    """The one of before is asked no more, and has the time of a stop to end what it works on."""
    with staged(ECHO) as echo:
        profile = plan(SMALL)
        make = lambda given: EngineService(profile, echo.engine, echo.folder / "run", given=given.sections)  # noqa: E731
        engine = GivenEngine(make, waits=True, grace_seconds=0.5)
        ready: list[RunningEngine] = []
        gone: list[RunningEngine] = []
        engine.follow(ready.append, gone.append)
        try:
            await engine.start()
            assert (ready, engine.missing()) == ([], ("the engine, which starts with the assets of its task",))
            for _ in range(2):
                await engine.take(assets(variables={"MAXIMUM_FILE_BYTES": "4"}))
            assert (len(ready), gone, engine.missing()) == (1, [], ())
            with pytest.raises(SandboxUnavailable, match="it cannot use"):
                await engine.take(assets(variables={"MAXIMUM_FILE_BYTES": "none"}))
            assert (len(ready), gone, engine.missing()) == (1, [], ())
            await engine.take(assets(variables={"MAXIMUM_FILE_BYTES": "5"}))
            first, second = ready
            assert (gone, first.ended.is_set()) == ([first], False)
            async with asyncio.timeout(10):
                await first.ended.wait()
            assert not second.ended.is_set()
        finally:
            await engine.stop()
        assert second.ended.is_set()


async def test_what_is_started_anew_with_the_sections_of_before_is_offered_to_nobody():
    """A client's request may end an engine, and the operator may make its time to end what it works on long."""
    with staged(ECHO) as echo:
        profile, made = plan(SMALL), []

        def make(given):
            made.append(EngineService(profile, echo.engine, echo.folder / "run", given=given.sections))
            return made[-1]

        engine = GivenEngine(make, waits=True, grace_seconds=60)
        ready: list[RunningEngine] = []
        engine.follow(ready.append, lambda _gone: None)
        try:
            for limit in ("4", "5"):
                await engine.take(assets(variables={"MAXIMUM_FILE_BYTES": limit}))
            os.kill(ready[0].pid, signal.SIGKILL)
            async with asyncio.timeout(20):
                while not any(seat.engine.proven and seat.engine is not ready[0] for seat in made[0]._seats):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.1)
            assert len(ready) == 2
        finally:
            await engine.stop()
