"""Speech through the real engine in its real sandbox."""

import json
import time
from dataclasses import replace

import pytest
from msgspec import structs
from tests.doubles.sandboxes import post, staged
from tests.speech import SENTENCES, encoded, form, spoken, tone, wav, word_error_rate

from cloister.sandbox.cgroup import RLIMITS
from cloister.sandbox.closure import SPEECH
from cloister.sandbox.service import EngineService
from cloister.sandbox.sizes import Sizes

PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def speech():
    with staged(SPEECH) as ready:
        yield ready


async def transcribed(service, file, **fields):
    body, content_type = form(file, **{"model": "whisper-1"} | fields)
    return await post(service, PATH, body, ("content-type", content_type))


async def test_the_first_answer_comes_soon_after_the_start(speech, tmp_path):
    file = spoken("Good morning.", "slt", tmp_path)
    begun = time.monotonic()
    async with speech.service(Sizes()) as service:
        assert (await transcribed(service, file)).status == 200
        assert time.monotonic() - begun < 30  # 3 s on two busy cores, 6 on very busy ones


async def test_compressed_speech_is_heard_and_answers_come_as_json_or_text(speech, tmp_path):
    sentence = SENTENCES[0]
    file = spoken(sentence, "kal16", tmp_path)
    async with speech.service(Sizes()) as service:
        for container, codec in (("mp3", "libmp3lame"), ("webm", "libopus"), ("ipod", "aac"), ("flac", "flac")):
            reply = await transcribed(service, encoded(file, container, codec), response_format="text")
            assert word_error_rate([sentence], [reply.body.decode()]) <= 0.3, container
        assert json.loads((await transcribed(service, wav(bytes(64_000)))).body)["text"] == ""


async def test_errors_come_in_the_shape_openai_gives_them(speech):
    async with speech.service(Sizes()) as service:
        answers = {
            "not audio": await transcribed(service, b"hello"),
            "unknown model": await transcribed(service, wav(tone(0.2)), model="whisper-9"),
            "no file": await transcribed(service, None),
            "too long": await transcribed(service, wav(bytes(2 * 500 * 1801), rate=500)),
            "too large": await transcribed(service, bytes(25 * 1024 * 1024 + 1)),
            "no such path": await post(service, "/v1/chat/completions"),
        }
    errors = {why: (reply.status, json.loads(reply.body)["error"]["code"]) for why, reply in answers.items()}
    assert errors == {
        "not audio": (400, "unsupported_format"),
        "unknown model": (404, "model_not_found"),
        "no file": (400, "missing_required_parameter"),
        "too long": (400, "audio_too_long"),
        "too large": (413, None),
        "no such path": (404, "unknown_url"),
    }


async def test_rlimits_alone_hold_the_real_engine_too(speech, tmp_path):
    async with speech.service(Sizes()) as service:
        plan = service.plan

    limits = structs.replace(plan.profile.limits, held_by="rlimits")
    plan = replace(plan, profile=structs.replace(plan.profile, limits=limits), parents=RLIMITS)
    service = EngineService(plan, speech.engine, speech.folder / "run")
    await service.start()
    try:
        half_an_hour = wav(bytes(2 * 16_000 * 1800 // 2), rate=8_000)
        assert (await transcribed(service, half_an_hour[: 25 * 2**20])).status == 200
        reply = await transcribed(service, spoken(SENTENCES[2], "awb", tmp_path))
        assert "went to the market" in json.loads(reply.body)["text"]
    finally:
        await service.stop()
