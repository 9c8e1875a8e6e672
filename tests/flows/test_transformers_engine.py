"""The transformers engine in its real sandbox, its model filled in: a process for each request, and none that hangs."""

import asyncio
import json
import time

import pytest
from tests.doubles.model_folders import FolderModel
from tests.doubles.sandboxes import post, staged
from tests.doubles.tiny_models import tiny_model

from cloister.sandbox.closure import TRANSFORMERS
from cloister.sandbox.errors import SandboxUnavailable

JSON = ("content-type", "application/json")


@pytest.fixture(scope="module")
def transformers():
    with staged(TRANSFORMERS, kept=True) as ready:
        yield ready


def question(text, **body):
    asked = {"model": "llama", "temperature": 0, "messages": [{"role": "user", "content": text}]} | body
    return json.dumps(asked).encode()


async def test_it_answers_many_at_once_each_its_own(transformers):
    questions = {
        "What is the capital of France?": "The capital of France is Paris.",
        "What is the capital of Italy?": "The capital of Italy is Rome.",
    }
    model = FolderModel(tiny_model("llama"))
    async with transformers.service(TRANSFORMERS.sizes.holding(model.files), model=model) as service:
        asked = list(questions) * 6
        answers = await asyncio.gather(*(post(service, "/v1/chat/completions", question(text), JSON) for text in asked))
        said = [json.loads(answer.body)["choices"][0]["message"]["content"] for answer in answers]
        assert said == [questions[text] for text in asked]
        started = time.monotonic()
        streamed = await post(service, "/v1/chat/completions", question("Say hello in Greek.", stream=True), JSON)
        assert time.monotonic() - started < 30
        assert streamed.body.endswith(b"data: [DONE]\n\n")
        wrong = await post(service, "/v1/chat/completions", question("x", temperature=3), JSON)
        assert json.loads(wrong.body)["error"]["param"] == "temperature"


async def test_a_model_that_it_cannot_serve_is_said_to_be_none(transformers, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    model = FolderModel(tmp_path)
    with pytest.raises(SandboxUnavailable, match="its model is none that it serves: a file is missing, damaged or"):
        async with transformers.service(TRANSFORMERS.sizes.holding(model.files), model=model):
            pass
