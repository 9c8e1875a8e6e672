"""A server that is larger than any request to it: one that takes too much memory ends alone, and the server goes on."""

import contextlib
import json

import pytest
import pytest_asyncio
from tests.doubles.sandbox_tools import require_tool
from tests.doubles.sandboxes import post, traversable_folder
from tests.doubles.upstreams import folder_of

from cloister.engines.upstream_memory import REQUEST_BYTES
from cloister.sandbox.closure import stage
from cloister.sandbox.errors import EngineCrashed
from cloister.sandbox.plan import plan_for
from cloister.sandbox.service import EngineService
from cloister.sandbox.upstream import upstream_engine

CHAT, SPEECH = "/v1/chat/completions", "/v1/audio/transcriptions"
MIB = 1024 * 1024
WEIGHTS_MIB = 640  # more than a request's process could have before the group is full
pytestmark = pytest.mark.asyncio(loop_scope="module")


@contextlib.asynccontextmanager
async def serving(folder, tool, **changes):
    usual = {
        "paths": [CHAT],
        "environment": {"WEIGHTS_MIB": str(WEIGHTS_MIB)},
        "memory_mib": WEIGHTS_MIB + 160,
        "at_once": 1,
        "answer_mib": 32,
        "silence_seconds": 30,
    }
    engine = upstream_engine(folder_of(folder / "software", **usual | changes))
    service = EngineService(plan_for(engine, tool=tool), stage(engine, folder / "stage"), folder / "run")
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@pytest.fixture(scope="module")
def folder():
    """What is staged for one is found by the next."""
    with traversable_folder() as made:
        yield made


@pytest.fixture(scope="module", params=["bwrap", "gvisor"])
def tool(request):
    """What may hold a server."""
    require_tool(request.param)
    return request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(folder, tool):
    async with serving(folder, tool) as one:
        yield one


async def chat(service, said):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": said}]}).encode()
    return await post(service, CHAT, body, ("content-type", "application/json"))


async def started(service):
    """What the server says of its start: nothing that another start of it would say."""
    return json.loads((await chat(service, "when were you started")).body)["choices"][0]["message"]["content"]


async def test_a_request_that_would_be_too_many_objects_is_refused_and_the_server_goes_on(service):
    before = await started(service)
    body = b'{"model":"m","messages":[],"seed":[' + b"[]," * 8_000_000 + b"[]]}"
    answer = await post(service, CHAT, body, ("content-type", "application/json"))
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (413, "request_too_large")
    assert await started(service) == before


async def test_a_request_whose_answer_takes_too_much_memory_ends_alone_and_the_server_goes_on(service):
    before = await started(service)
    with pytest.raises(EngineCrashed, match="its connection ended before the answer did"):
        await chat(service, "lists")
    assert await started(service) == before


async def test_the_largest_image_passes(service):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 25 * MIB}"}}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": [image]}]}).encode()
    assert (await post(service, CHAT, body, ("content-type", "application/json"))).status == 200


async def test_the_largest_recording_passes(folder, tool):
    head = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x\r\nContent-Disposition: form-data; '
    form = head + b'name="file"; filename="a.wav"\r\n\r\n' + bytes(25 * MIB) + b"\r\n--x--\r\n"
    async with serving(folder, tool, dialect="whisper", paths=[SPEECH], prompt_cache="none", environment={}) as hearing:
        heard = await post(hearing, SPEECH, form, ("content-type", "multipart/form-data; boundary=x"))
    assert json.loads(heard.body)["text"] == " good morning"


async def test_what_all_requests_may_take_is_beside_the_servers_own_need(service):
    limits = service.plan.profile.limits
    assert limits.memory_bytes >= (WEIGHTS_MIB + 160) * MIB + REQUEST_BYTES
