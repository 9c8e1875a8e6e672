"""The whisper engine in its real sandbox, its model filled in: each request's process has threads, and none hangs."""

import asyncio
import json

import pytest
from tests.doubles.model_folders import FolderModel
from tests.doubles.sandboxes import post, staged
from tests.doubles.tiny_models import tiny_model
from tests.speech import form, wav

from cloister.sandbox.closure import WHISPER

SENTENCE = "We went to the market to buy bread."
GERMAN, IN_ENGLISH = "Guten Tag, liebe Freunde.", "Good day, dear friends."


@pytest.fixture(scope="module")
def whisper():
    with staged(WHISPER, kept=True) as ready:
        yield ready


async def test_it_hears_many_at_once_each_its_own(whisper):
    model = FolderModel(tiny_model("whisper"))
    files = {SENTENCE: "english.wav", GERMAN: "german.wav"}

    async def asked(service, file, path="transcriptions", **fields):
        body, kind = form(file, model="whisper-1", **fields)
        return await post(service, f"/v1/audio/{path}", body, ("content-type", kind))

    async with whisper.service(WHISPER.sizes.holding(model.files), model=model) as service:
        spoken = {text: (model.folder / name).read_bytes() for text, name in files.items()}
        answers = await asyncio.gather(*(asked(service, spoken[text]) for text in [*files] * 4))
        assert [json.loads(answer.body)["text"] for answer in answers] == [*files] * 4
        translated = await asked(service, spoken[GERMAN], "translations", response_format="text")
        assert translated.body.decode() == f"{IN_ENGLISH}\n"
        streamed = await asked(service, spoken[SENTENCE], stream="true", chunking_strategy="auto")
        assert json.loads(streamed.body.strip().split(b"data: ")[-1])["text"] == SENTENCE
        silent = await asked(service, wav(bytes(64_000)))
        assert json.loads(silent.body)["text"] == ""
        wrong = await asked(service, b"no audio")
        assert json.loads(wrong.body)["error"]["code"] == "unsupported_format"
