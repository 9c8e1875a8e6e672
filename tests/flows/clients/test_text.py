"""Clients of OpenAI's text API as their makers publish them, before a whole local system that serves a sealed model."""

import itertools
import time

import pytest
import pytest_asyncio
from tests.doubles.installation import Installation, local_system
from tests.doubles.proxies import TOKEN, proxy_before
from tests.doubles.tiny_models import tiny_model
from tests.flows.clients.conftest import PROGRAMS, Outcomes, run_client

from cloister.client.trust_policy_file import read_trust_policy
from cloister.ohttp.records import TICK_SECONDS, TOTALS

CAPITAL = "The capital of France is Paris."
NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
COUNTED = f"{', '.join(NUMBERS.split())}."
STORY = " there was a model that nobody could read."
WEATHER = ["get_weather", {"city": "Oslo"}]
COMMANDS = {  # the client, its environment, its program
    "openai 2": ("openai 2", "text_openai.py", "all"),
    "openai 3": ("openai 3", "text_openai.py", "all"),
    "langchain-openai": ("frameworks", "text_langchain.py"),
    "InferenceClient": ("frameworks", "text_hugging_face.py"),
    "litellm": ("frameworks", "text_litellm.py"),
    "node": ("node", "text_openai.mjs"),
}
MILLISECOND = 0.001

every_client = pytest.mark.parametrize("client", list(COMMANDS))
sdks = pytest.mark.parametrize("client", ["openai 2", "openai 3"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def serving(tmp_path_factory):
    """A local system that serves a sealed model, whose key its KMS gives to the gateway."""
    folder = tmp_path_factory.mktemp("text")
    sealed, key = folder / "sealed", folder / "sealed.key"
    made = Installation(folder)
    assert (await made.run("model", "seal", tiny_model("llama"), "-o", sealed)).code == 0
    command = ("serve", sealed, "--engine", "transformers", "--model-key", key)
    async with local_system(made, folder / "state", command=command) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def said(installing, serving):
    """What each client's program said, one after the other: their times are looked at."""
    ran = {}
    for client, (environment, program, *arguments) in COMMANDS.items():
        ran[client] = await run_client(serving, installing[environment], PROGRAMS / program, *arguments)
    return Outcomes(ran)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strictly(installing, serving, tmp_path_factory):
    """What a client got by a proxy whose privacy is strict; and how long its program ran, in seconds."""
    policy, relay = read_trust_policy(serving.state / "trust-policy.toml"), serving.record.relay_url
    folder = tmp_path_factory.mktemp("strict-proxy")
    await installing["openai 3"]
    async with proxy_before(relay, policy, folder, clock=time.time, privacy="strict") as origin:
        started = time.monotonic()
        reached = {"OPENAI_BASE_URL": f"{origin}/v1", "OPENAI_API_KEY": TOKEN}
        program = PROGRAMS / "text_openai.py"
        ran = await run_client(serving, installing["openai 3"], program, "stream", **reached)
        return Outcomes({"openai 3": ran})["openai 3"], time.monotonic() - started


def whole_of(said):
    """The text and the tokens counted in a client's whole answer, whatever its program told besides."""
    answer = said["whole"].get("answered", said["whole"])
    usage = answer["usage"]
    return answer["text"], usage["completion_tokens"] if isinstance(usage, dict) else usage


def moments(pieces):
    """How many times something came, apart from what came with what was before it."""
    times = [at for at, _ in pieces]
    return 1 + sum(later - before > MILLISECOND for before, later in itertools.pairwise(times))


@every_client
def test_a_chat_is_answered_whole_with_its_usage(client, said):
    assert whole_of(said[client]) == (CAPITAL, 8)


@every_client
def test_a_streamed_chat_comes_piece_by_piece(client, said):
    for pieces in said[client]["streams"]:
        assert "".join(text for _, text in pieces) == COUNTED
        assert len(pieces) == 2 * len(NUMBERS.split())


@every_client
def test_the_pieces_come_while_the_model_writes(client, said):
    """It writes one in some milliseconds. Kept back anywhere they would come at one moment, in each of the streams."""
    assert max(map(moments, said[client]["streams"])) >= 4


@sdks
def test_a_streams_end_says_why_it_ended_and_what_it_used(client, said):
    answered = said[client]["streamed"]["answered"]
    assert answered["finish"] == "stop"
    assert answered["usage"] == {"prompt_tokens": 17, "completion_tokens": 33, "total_tokens": 50}


@sdks
def test_a_tool_is_called_and_its_answer_is_read(client, said):
    expected = {"calls": [WEATHER], "finish": "tool_calls", "then": "It is sunny in Oslo."}
    assert said[client]["tool"]["answered"] == expected
    assert said[client]["streamed tool"]["answered"] == [WEATHER]


def test_langchain_calls_its_tool(said):
    assert said["langchain-openai"]["tool"] == {"calls": [WEATHER], "then": "It is sunny in Oslo."}


@sdks
def test_a_prompt_is_completed_whole_and_streamed(client, said):
    assert said[client]["completion"]["answered"] == STORY
    assert "".join(said[client]["streamed completion"]["answered"]) == STORY


@sdks
def test_a_response_comes_whole_and_as_events(client, said):
    assert said[client]["response"]["answered"] == {"text": CAPITAL, "status": "completed", "usage": 8}
    streamed = said[client]["streamed response"]["answered"]
    assert ("".join(streamed["deltas"]), streamed["text"]) == (COUNTED, COUNTED)


@sdks
def test_the_models_are_listed_and_told(client, said):
    assert said[client]["models"]["answered"] == ["llama", "tiny/llama"]
    assert said[client]["model"]["answered"] == "llama"


@sdks
@pytest.mark.parametrize(
    ("call", "raised", "status", "code", "param"),
    [
        ("another model", "NotFoundError", 404, "model_not_found", "model"),
        ("bad field", "BadRequestError", 400, "invalid_value", "temperature"),
        ("unknown field", "BadRequestError", 400, "unknown_parameter", "frequency"),
        ("too long", "BadRequestError", 400, "context_length_exceeded", "messages"),
        ("too long, streamed", "BadRequestError", 400, "context_length_exceeded", "messages"),
        ("embedding", "BadRequestError", 400, "unsupported_model", "model"),
    ],
)
def test_an_error_of_the_engine_is_the_sdks_own(client, call, raised, status, code, param, said):  # noqa: PLR0917
    expected = {"raised": raised, "status_code": status, "code": code, "param": param}
    assert said[client][call] == expected


def test_a_stream_under_strict_privacy_is_whole_and_takes_as_long_as_any(strictly):
    said, seconds = strictly
    answered = said["streamed"]["answered"]
    assert "".join(text for _, text in answered["pieces"]) == COUNTED
    assert answered["usage"]["completion_tokens"] == 33
    assert seconds > (TOTALS[0] - 1) * TICK_SECONDS
