"""Clients as their makers publish them, before a whole local system whose engine is somebody else's server.

The server is llama.cpp's, unmodified, as a wheel has it; the model is sealed. It speaks OpenAI's API and Anthropic's.
"""

import asyncio

import pytest
import pytest_asyncio
from tests.doubles.installation import Installation, local_system
from tests.doubles.upstream_software import gguf_llama, llama_cpp
from tests.flows.clients.conftest import PROGRAMS, Outcomes, run_client
from tests.flows.clients.test_text import CAPITAL, COMMANDS, COUNTED, STORY, WEATHER, moments, whole_of

ALL = COMMANDS | {"anthropic": ("anthropic", "text_anthropic.py")}
every_client = pytest.mark.parametrize("client", list(COMMANDS))
sdks = pytest.mark.parametrize("client", ["openai 2", "openai 3"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def serving(tmp_path_factory):
    """A local system that serves a sealed model by a server that was installed from PyPI."""
    folder = tmp_path_factory.mktemp("upstream")
    sealed, key = folder / "sealed", folder / "sealed.key"
    made = Installation(folder)
    assert (await made.run("model", "seal", gguf_llama(), "-o", sealed)).code == 0
    command = ("serve", sealed, "--engine", llama_cpp(), "--model-key", key)
    async with local_system(made, folder / "state", command=command) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def said(installing, serving):
    """What each client's program said; they run at the same time, and one server serves them all."""
    ran = (
        run_client(serving, installing[environment], PROGRAMS / program, *arguments)
        for environment, program, *arguments in ALL.values()
    )
    return Outcomes(dict(zip(ALL, await asyncio.gather(*ran), strict=True)))


@every_client
def test_a_chat_is_answered_whole_with_its_usage(client, said):
    assert whole_of(said[client]) == (CAPITAL, 8)


@every_client
def test_a_streamed_chat_comes_piece_by_piece_while_the_server_writes(client, said):
    for pieces in said[client]["streams"]:
        assert "".join(text for _, text in pieces) == COUNTED
    assert max(map(moments, said[client]["streams"])) >= 4


@sdks
def test_a_streams_end_says_why_it_ended_and_what_it_used_without_a_word_of_the_cache(client, said):
    answered = said[client]["streamed"]["answered"]
    assert answered["finish"] == "stop"
    assert answered["usage"] == {"prompt_tokens": 17, "completion_tokens": 33, "total_tokens": 50}


@sdks
def test_a_tool_is_called_and_its_answer_is_read(client, said):
    expected = {"calls": [WEATHER], "finish": "tool_calls", "then": "It is sunny in Oslo."}
    assert said[client]["tool"]["answered"] == expected


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
    ("call", "raised", "status", "code"),
    [
        ("another model", "NotFoundError", 404, "model_not_found"),
        ("unknown field", "BadRequestError", 400, "unknown_parameter"),
        ("too long", "BadRequestError", 400, "context_length_exceeded"),
        ("too long, streamed", "BadRequestError", 400, "context_length_exceeded"),
        ("embedding", "NotFoundError", 404, None),
    ],
)
def test_an_error_of_adapter_or_server_is_the_sdks_own(client, call, raised, status, code, said):
    told = said[client][call]
    assert (told["raised"], told["status_code"], told["code"]) == (raised, status, code)


def test_a_message_is_answered_whole_with_its_usage(said):
    usage = {"input_tokens": 20, "output_tokens": 8}
    assert said["anthropic"]["whole"]["answered"] == {"text": CAPITAL, "stop": "end_turn", "usage": usage}
    assert said["anthropic"]["counted"]["answered"] == 20


def test_a_streamed_message_comes_piece_by_piece_while_the_server_writes(said):
    streams = said["anthropic"]["streams"]
    for one in streams:
        assert "".join(text for _, text in one["pieces"]) == one["text"] == COUNTED
        assert (one["stop"], one["model"]) == ("end_turn", "llama")
    assert max(moments(one["pieces"]) for one in streams) >= 4


def test_a_tool_is_used_and_its_result_is_read(said):
    expected = {"call": WEATHER, "stop": "tool_use", "then": "It is sunny in Oslo."}
    assert said["anthropic"]["tool"]["answered"] == expected


@pytest.mark.parametrize(
    ("call", "raised", "status", "kind"),
    [
        ("another model", "NotFoundError", 404, "not_found_error"),
        ("bad field", "BadRequestError", 400, "invalid_request_error"),
        ("fetched", "BadRequestError", 400, "invalid_request_error"),
    ],
)
def test_an_error_is_anthropics_own(call, raised, status, kind, said):
    assert said["anthropic"][call] == {"raised": raised, "status": status, "type": kind}
