"""Servers of other makers in the sandbox, asked over the whole path, and neighbours who ask while others do harm."""

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
from tests.doubles.model_folders import FolderModel
from tests.doubles.proxies import TOKEN
from tests.doubles.sandboxes import traversable_folder
from tests.doubles.tiny_models import tiny_model
from tests.doubles.upstream_software import gguf_llama, llama_cpp, mlserver, transformers_serve
from tests.doubles.upstreams import folder_of
from tests.doubles.whole_system import proxied

from cloister.engines.upstream_dialects import endpoints
from cloister.formats.contract import Endpoint
from cloister.sandbox.closure import stage, staging_folder
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.plan import plan_for
from cloister.sandbox.service import EngineService
from cloister.sandbox.upstream import read_definition, upstream_engine
from cloister.services.gateway.engine_choice import what_runs
from cloister.services.gateway.forking_engines import ForkingEngines
from cloister.testing.local_system import LocalSystem

_KEPT = Path(__file__).parents[2] / ".venv" / ".staged"  # a gigabyte of some: found again by the next
CHAT = "/v1/chat/completions"
CAPITAL = {"role": "user", "content": "What is the capital of France?"}
COUNT = {"role": "user", "content": "Count to sixteen."}
EVERY = os.environ.get("EVERY_SERVER") == "1"  # those too that take a minute to start
TRITON_CLIENT = """
import json, sys
import numpy as np
import tritonclient.http as triton
client = triton.InferenceServerClient(url=sys.argv[1])
headers = {"Authorization": "Bearer " + sys.argv[2]}
x = triton.InferInput("x", [2, 2], "FP32")
x.set_data_from_numpy(np.array([[1, 2], [3, 4]], dtype=np.float32), binary_data=False)
wanted = [triton.InferRequestedOutput("y", binary_data=False)]
said = {"live": client.is_server_live(headers=headers), "ready": client.is_model_ready("affine", headers=headers)}
said["name"] = client.get_model_metadata("affine", headers=headers)["name"]
said["y"] = client.infer("affine", [x], outputs=wanted, headers=headers).as_numpy("y").tolist()
for name, parameters in (("other", {}), ("affine", {"sequence_id": 7})):
    try:
        client.infer(name, [x], outputs=wanted, headers=headers, **parameters)
    except triton.InferenceServerException as error:
        said[name] = error.status()
print(json.dumps(said))
"""


@contextlib.asynccontextmanager
async def sandboxed(software, model=None):
    """A gateway's connections to the engine that starts what lies in `software`, once it is ready; and what runs."""
    with traversable_folder() as folder:
        engine = upstream_engine(software)
        held = None if model is None else FolderModel(model)
        planned = plan_for(engine, () if held is None else held.files)
        staged = stage(engine, staging_folder(_KEPT))
        engines = ForkingEngines(engine.at_once, missing=lambda: ())
        service = EngineService(
            planned, staged, folder / "run", model=held, on_ready=lambda one: engines.add(one.address)
        )
        await service.start()
        try:
            yield engines, what_runs(staged, planned)
        finally:
            await service.stop()


@contextlib.asynccontextmanager
async def reached(software, folder, model=None):
    """A client of the proxy before a whole system with this server; and where the proxy is."""
    async with sandboxed(software, model) as (engines, runs), contextlib.AsyncExitStack() as stack:
        known = read_definition(software)
        named = ({"method": one, "path": path} for one, path in endpoints(known.dialect, known.paths))
        opened = tuple(msgspec.convert(one, Endpoint) for one in named)
        system = LocalSystem(folder, runs=runs, endpoints=opened)
        await system.run_ledger(stack)
        await system.run_kms(stack)
        await system.run_gateway_before(stack, engines)
        await system.run_relay(stack)
        origin = await stack.enter_async_context(proxied(system, folder))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        base = f"http://{origin.host}:{origin.port}"
        yield await stack.enter_async_context(httpx.AsyncClient(base_url=base, headers=headers, timeout=60))


async def pieces(client, **fields):
    """The words of a streamed chat, each with the seconds since it was asked for."""
    started, came = time.monotonic(), []
    async with client.stream("POST", CHAT, json=fields | {"stream": True}) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                at, choices = time.monotonic() - started, json.loads(line[6:]).get("choices", ())
                came += [(at, choice.get("delta", {}).get("content") or "") for choice in choices]
    return came


async def test_tritons_client_asks_a_server_of_the_open_inference_protocol(tmp_path):
    software, model = mlserver(), tmp_path / "model"
    model.mkdir()
    np.save(model / "weights.npy", np.array([[2.0, 0.0], [0.0, 0.5]], dtype=np.float32))
    settings = {"implementation": "affine_runtime.Affine", "parameters": {"uri": "./weights.npy"}}
    (model / "model-settings.json").write_text(json.dumps({"name": "affine"} | settings))
    asked = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}
    case = {"path": "/v2/models/affine/infer", "body": asked, "expect": {"contains": '"data": [2.0, 1.0]'}}
    (model / "selftest.json").write_text(json.dumps({"version": 1, "cases": [case]}))
    async with reached(software, tmp_path, model) as client:
        place = f"{client.base_url.host}:{client.base_url.port}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-B", "-c", TRITON_CLIENT, place, TOKEN),
            env={"PYTHONPATH": str(software / "site")},
            stdout=asyncio.subprocess.PIPE,
        )
        said = json.loads((await process.communicate())[0])
    assert said["y"] == [[2.0, 1.0], [6.0, 2.0]]
    assert (said["live"], said["ready"], said["name"]) == (True, True, "affine")
    assert (said["other"], said["affine"]) == ("404", "400")


async def test_a_server_whose_prompt_cache_is_shared_is_not_served():
    """llama.cpp's, which heeds `cache_prompt` in all but Anthropic's messages."""
    with pytest.raises(SandboxUnavailable, match="its server shares a prompt cache among requests"):
        async with sandboxed(llama_cpp(remembers=True), gguf_llama()):
            pass


async def test_a_stream_goes_on_while_others_do_harm(tmp_path):
    def chat(said, **fields):
        return {"model": "m", "messages": [{"role": "user", "content": said}]} | fields

    software = folder_of(tmp_path / "software", silence_seconds=2)
    async with reached(software, tmp_path) as client:
        mine = asyncio.create_task(pieces(client, **chat("long")))
        await asyncio.sleep(0.5)
        harm = [client.post(CHAT, content=body) for body in (b"", b'{"model":', b"[" * 100_000, b"x" * 30_000_000)]
        harm += [client.post(CHAT, json=chat("x", kv_transfer_params={})), client.post("/pause")]
        harm += [client.post(CHAT, json=chat(fault)) for fault in ("noise", "endless", "malformed", "cut_whole")]
        harm += [pieces(client, **chat(fault)) for fault in ("cut", "disorder", "stream_error")]
        answers = await asyncio.gather(*harm)
        assert [answer.status_code for answer in answers[:10]] == [400, 400, 400, 413, 400, 404, 502, 502, 502, 502]
        came = await mine
    assert "".join(text for _, text in came) == "".join(f"{number} " for number in range(16))
    assert came[-1][0] - came[0][0] > 2  # the server writes a word every 0.2 s


if EVERY:

    async def test_transformers_serve_answers_and_streams_as_it_writes(tmp_path):
        async with reached(transformers_serve(), tmp_path, tiny_model("llama")) as client:
            asked = {"model": "llama", "temperature": 0, "messages": [CAPITAL]}
            whole = (await client.post(CHAT, json=asked)).json()
            assert whole["choices"][0]["message"]["content"] == "The capital of France is Paris."
            assert (whole["model"], whole["usage"]["completion_tokens"]) == ("llama", 8)
            came = await pieces(client, model="llama", temperature=0, messages=[COUNT])
            assert "".join(text for _, text in came).startswith("one, two, three")
            assert len({round(at, 3) for at, _ in came}) >= 4
