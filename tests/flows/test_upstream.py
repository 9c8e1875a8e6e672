"""An upstream in its sandbox, behind the adapter: it serves, its faults are contained, and nothing is written.

One sandbox serves these tests, in their order: the last of them have it started anew.
"""

import asyncio
import contextlib
import json
import time

import pytest
import pytest_asyncio
from tests.doubles.sandboxes import post, traversable_folder
from tests.doubles.upstreams import folder_of

from cloister.formats.binary_http import Request
from cloister.sandbox.closure import stage
from cloister.sandbox.errors import EngineCrashed, EngineTimedOut, SandboxUnavailable
from cloister.sandbox.plan import plan_for
from cloister.sandbox.service import EngineService
from cloister.sandbox.upstream import upstream_engine

CHAT = "/v1/chat/completions"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder():
    """What is staged for one is found by the next."""
    with traversable_folder() as made:
        yield made


@contextlib.asynccontextmanager
async def serving(folder, **changes):
    """The double by a definition with changes, served."""
    engine = upstream_engine(folder_of(folder / "software", **changes))
    service = EngineService(plan_for(engine), stage(engine, folder / "stage"), folder / "run")
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(folder):
    sizes = {"memory_mib": 64, "tasks": 24, "at_once": 1}
    async with serving(folder, paths=[CHAT], prompt_cache="asked", silence_seconds=2, **sizes) as one:
        yield one


async def chat(service, said, **fields):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": said}]} | fields).encode()
    answer = await post(service, CHAT, body, ("content-type", "application/json"))
    return answer.status, answer.body


def text(answer):
    return json.loads(answer[1])["choices"][0]["message"]["content"]


async def answers(service):
    assert text(await chat(service, "count")) == "one two three"
    listed = await service.ask(Request("GET", "http", "engine", "/v1/models", (), b""), seconds=10)
    assert [one["id"] for one in json.loads(listed.body)["data"]] == ["m", "org/m"]
    assert (await post(service, "/pause")).status == 404


async def test_a_server_on_a_unix_socket_answers_behind_the_adapter(service):
    await answers(service)


@pytest.mark.parametrize(
    ("fault", "status"), [("noise", 502), ("endless", 502), ("malformed", 502), ("error", 400), ("hang", 504)]
)
async def test_a_fault_is_contained_and_the_next_request_is_served(fault, status, service):
    assert (await chat(service, fault))[0] == status
    assert text(await chat(service, "count")) == "one two three"


async def test_it_writes_no_file_and_opens_no_connection_elsewhere(service):
    assert text(await chat(service, "files")) == "written: []"
    assert text(await chat(service, "sockets")) == "opened: []"


async def test_a_server_that_forks_without_end_reaches_its_own_cap(service):
    assert text(await chat(service, "forks")) == "BlockingIOError"


@pytest.mark.parametrize("fault", ["crash", "hungry"])
async def test_a_server_that_ends_is_started_anew(fault, service):
    with contextlib.suppress(EngineCrashed, EngineTimedOut):
        assert (await chat(service, fault))[0] in {502, 503}
    until = time.monotonic() + 20
    while True:
        with contextlib.suppress(EngineCrashed):
            if (await chat(service, "count"))[0] == 200:
                break
        assert time.monotonic() < until
        await asyncio.sleep(0.1)


async def test_a_server_that_knows_tcp_alone_answers_behind_the_adapter(folder):
    command = ["{python}", "-I", "-S", "-B", "{folder}/model_server.py", "{port}"]
    async with serving(folder, listens="port", command=command) as service:
        await answers(service)


async def test_a_server_that_does_not_become_ready_is_not_served(folder):
    with pytest.raises(SandboxUnavailable, match="its server ended, or was not ready in the ready_seconds"):
        async with serving(folder, command=["{python}", "-c", "pass", "{socket}"], ready_seconds=5):
            pass


async def test_embeddings_are_not_served_by_a_salt_that_not_every_version_heeds(folder):
    with pytest.raises(SandboxUnavailable, match="or nothing shows that it does not: see prompt_cache"):
        async with serving(folder, dialect="vllm", paths=[CHAT, "/v1/embeddings"], prompt_cache="asked"):
            pass
