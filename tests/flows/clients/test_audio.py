"""OpenAI's client, as its makers publish it, before a whole local system that serves a sealed model that hears."""

import pytest
import pytest_asyncio
from tests.doubles.installation import Installation, local_system
from tests.doubles.tiny_models import tiny_model
from tests.flows.clients.conftest import PROGRAMS, Outcomes, run_client

ENGLISH, GERMAN, IN_ENGLISH = (
    "We went to the market to buy bread.",
    "Guten Tag, liebe Freunde.",
    "Good day, dear friends.",
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def said(installing, tmp_path_factory):
    """What the client's program said."""
    folder = tmp_path_factory.mktemp("audio-system")
    model = tiny_model("whisper")
    for name in ("english.wav", "german.wav"):
        (folder / name).write_bytes((model / name).read_bytes())
    (folder / "no-audio.wav").write_bytes(b"this is not audio at all")
    made = Installation(folder)
    assert (await made.run("model", "seal", model, "-o", folder / "sealed")).code == 0
    command = ("serve", folder / "sealed", "--engine", "whisper", "--model-key", folder / "sealed.key")
    async with local_system(made, folder / "state", command=command) as running:
        ran = await run_client(running, installing["openai 3"], PROGRAMS / "audio_openai.py", folder)
    return Outcomes({"openai 3": ran})["openai 3"]


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("english", ENGLISH),
        ("german", GERMAN),
        ("translated", IN_ENGLISH),
        ("subtitles", f"1\n00:00:00,000 --> 00:00:02,280\n{ENGLISH}\n\n"),
        ("streamed", ["transcript.text.delta", "transcript.text.done"]),
        ("models", ["whisper-1", "tiny/whisper"]),
    ],
)
def test_what_the_sealed_model_hears_is_what_the_client_gets(said, call, answer):
    assert said[call]["answered"] == answer


def test_words_and_segments_come_with_their_times(said):
    answer = said["verbose"]["answered"]
    assert answer["language"] == "english"
    assert [word["word"] for word in answer["words"]] == ENGLISH.split()
    [segment] = answer["segments"]
    assert segment["text"] == ENGLISH
    assert (segment["start"], segment["end"]) == (answer["words"][0]["start"], answer["words"][-1]["end"])


@pytest.mark.parametrize(
    ("call", "raised", "status", "code", "param"),
    [
        ("another model", "NotFoundError", 404, "model_not_found", "model"),
        ("another language", "BadRequestError", 400, "unsupported_value", "language"),
        ("no audio", "BadRequestError", 400, "unsupported_format", "file"),
    ],
)
def test_an_error_of_the_engine_is_the_sdks_own(said, call, raised, status, code, param):
    assert said[call] == {"raised": raised, "status_code": status, "code": code, "param": param}
