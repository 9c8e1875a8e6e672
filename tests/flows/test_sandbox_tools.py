"""The same engines by every tool that can confine them: what they serve, are given, and leave, whichever it is."""

import hashlib
import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from tests.doubles.filled_models import MemoryModel
from tests.doubles.sandbox_tools import require_tool
from tests.doubles.sandboxes import FAULTY, SMALL, post, processes_mentioning, staged
from tests.flows.test_given_sections import given
from tests.speech import form, spoken, word_error_rate

from cloister.sandbox import own_user
from cloister.sandbox.closure import SPEECH
from cloister.sandbox.errors import BelowFloor, EngineCrashed, EngineTimedOut, SandboxUnavailable
from cloister.sandbox.place import remove_leftovers
from cloister.sandbox.plan import plan
from cloister.sandbox.profile import MIB
from cloister.services.gateway.service import run
from cloister.services.gateway.settings import GatewaySettings
from cloister.testing.local_papers import RUNS, LocalPapers

LEFT = Path("/dev/shm")
WEIGHTS = os.urandom(5 * MIB + 7)
MODEL = MemoryModel({"weights.bin": WEIGHTS, "tokenizer/vocab.txt": b"a b c", "empty": b""})


@pytest.fixture(scope="module", params=["gvisor", "landlock"])  # bubblewrap has all the other tests
def tool(request):
    require_tool(request.param)
    return request.param


@pytest.fixture(scope="module")
def faulty():
    with staged(FAULTY) as ready:
        yield ready


@pytest.fixture(scope="module")
def speech():
    with staged(SPEECH) as ready:
        yield ready


def left(faulty):
    """What an engine leaves: processes, sockets, bundles, files in memory."""
    return [
        *processes_mentioning(str(faulty.engine.folder.parent)),
        *(faulty.folder / "run").iterdir(),
        *faulty.engine.folder.parent.glob("bundle-*"),
        *LEFT.glob(f"cloister-engine-{os.getpid()}-*"),
    ]


async def test_each_fault_costs_its_request_alone_and_nothing_is_left_in_the_end(tool, faulty):
    said: list[str] = []
    async with faulty.service(tool=tool, say=said.append) as service:
        user = int((await post(service, "/run", b"import os; result = os.getuid()")).body.removeprefix(b"did it: "))
        assert user in own_user.USERS if tool == "landlock" else user == 60001
        for path, error in (("/hang", EngineTimedOut), ("/exit", EngineCrashed), ("/memory", EngineCrashed)):
            with pytest.raises(error):
                await post(service, path)
            assert (await post(service, "/", b"again")).body == b"5"
        assert len(left(faulty)) > 1
    assert said == []
    assert left(faulty) == []


def users_of(pid):
    """Real, effective, saved and file system's user on the machine of a process and of all that it started."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    users = set(next(map(int, line.split()[1:]) for line in status if line.startswith("Uid:")))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return users.union(*(users_of(child) for child in children))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives engines users of their own")
async def test_no_engine_has_the_user_of_another_or_of_a_service(tool, faulty):
    async with faulty.service(tool=tool, workers=2) as service:
        one, other = (users_of(seat.engine.pid) for seat in service._seats)
    assert len(one) == len(other) == 1
    assert one != other
    assert one | other <= set(own_user.USERS)


async def test_an_engine_has_its_model_and_sections_and_changes_neither(tool, faulty):
    code = b"""
import hashlib, json, os, pathlib
model, sections = pathlib.Path(os.environ["MODEL"]), pathlib.Path(os.environ["SECTIONS"])
def stopped(place):
    try: open(place, "ab")
    except OSError: return True
result = [hashlib.sha256((model / "weights.bin").read_bytes()).hexdigest(), (model / "tokenizer/vocab.txt").read_text(),
    (model / "empty").stat().st_size, oct((model / "weights.bin").stat().st_mode), (sections / "words.txt").read_text(),
    json.loads((sections / ".variables.json").read_bytes())["TOKEN"], stopped(model / "empty"), stopped(model / "new"),
    stopped(sections / "words.txt")]
"""
    holding = given(variables={"TOKEN": "a token"}, files={"words.txt": b"some words"})
    async with faulty.service(SMALL.holding(MODEL.files), tool=tool, model=MODEL, given=holding) as service:
        told = (await post(service, "/run", code)).body.decode()
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    expected = [digest, "a b c", 0, "0o100400", "some words", "a token", True, True, True]
    assert told == f"did it: {expected}"
    assert left(faulty) == []


async def test_a_model_that_cannot_be_opened_starts_nothing(tool, faulty):
    def fails():
        raise SandboxUnavailable("a key of another model")

    broken = MemoryModel(MODEL.contents, midway=fails)
    with pytest.raises(SandboxUnavailable, match="another model"):
        async with faulty.service(SMALL.holding(MODEL.files), tool=tool, model=broken):
            pass
    assert left(faulty) == []


async def test_what_an_engine_prints_goes_nowhere_and_not_to_a_client(tool, faulty):
    code = b"import os; os.write(1, b'HTTP/1.1 200 printed'); os.write(2, b'printed'); result = os.read(0, 9)"
    async with faulty.service(tool=tool) as service:
        assert (await post(service, "/run", code)).body == b"did it: b''"


async def test_speech_is_heard(tool, speech, tmp_path):
    sentence = "Good morning."
    body, content_type = form(spoken(sentence, "slt", tmp_path), model="whisper-1", response_format="text")
    async with speech.service(SPEECH.sizes, tool=tool) as service:
        reply = await post(service, "/v1/audio/transcriptions", body, ("content-type", content_type))
    assert reply.status == 200
    assert word_error_rate([sentence], [reply.body.decode()]) <= 0.4


def test_every_program_that_confines_is_in_the_profile_and_each_tool_has_its_tier(tool):
    profile = plan(tool=tool).profile
    assert profile.starters[-1].name == {"gvisor": "runsc", "landlock": "env"}[tool]
    assert profile.tier == {"gvisor": "kernel", "landlock": "contents"}[tool]
    assert profile.digest == plan(tool=tool).profile.digest != plan(tool="bwrap").profile.digest
    assert str(Path.cwd()) not in json.dumps([profile.arguments, profile.configuration])


def test_nothing_is_planned_below_the_floor_and_the_automatic_choice_reaches_it():
    require_tool("gvisor")
    assert plan().profile.tool == "bwrap"
    assert plan(floor="kernel").profile.tool == "gvisor"


@pytest.mark.parametrize(("tool", "floor"), [("bwrap", "kernel"), ("landlock", "namespaces")])
def test_what_is_below_the_floor_is_refused_by_name(tool, floor):
    require_tool(tool)
    with pytest.raises(BelowFloor, match=f"{tool} is of the tier .* wants {floor} at least"):
        plan(tool=tool, floor=floor)


@pytest.mark.parametrize(("tool", "floor"), [("bwrap", "kernel"), ("landlock", "namespaces")])
def test_a_gateway_below_its_contracts_floor_refuses_to_start_before_it_asks_for_a_key(tool, floor, tmp_path):
    require_tool(tool)
    papers = LocalPapers(tmp_path, runs=replace(RUNS, tier=floor))
    _, contract = papers.write_papers()
    with socket.create_server(("127.0.0.1", 0)) as kms:
        settings = GatewaySettings(
            port=0,
            kms_urls=(f"http://127.0.0.1:{kms.getsockname()[1]}",),
            contract=contract,
            state=tmp_path,
            run_folder=tmp_path / "run",
            platform_key=papers.write_key("platform", papers.platform_key),
            engine="echo",
            sandbox=tool,
        )
        with pytest.raises(BelowFloor, match=f"the contract wants {floor} at least") as refusal:
            run(settings)
        assert refusal.value.exit_code == 3
        kms.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody called
            kms.accept()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has engines with a folder in memory")
def test_what_a_launcher_that_is_no_more_left_in_memory_is_removed_and_what_lives_is_not():
    dead, alive = (LEFT / f"cloister-engine-{number}-test" for number in (2**22 + 1, os.getpid()))
    try:
        for folder in (dead, alive):
            (folder / "model").mkdir(parents=True)
        remove_leftovers()
        assert (dead.exists(), alive.exists()) == (False, True)
    finally:
        for folder in (dead, alive):
            if folder.exists():
                (folder / "model").rmdir()
                folder.rmdir()
