"""What clients get of an upstream's answer: nothing that tells whether its prompt cache knew their words already."""

import json

import pytest

from cloister.engines.upstream_answers import kept
from cloister.engines.upstream_dialects import DIALECTS
from cloister.engines.upstream_events import events

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
CACHED = {"prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 1}, "prompt_cache_hit_tokens": 8}
HEARD = {"prompt_tokens_details": {"audio_tokens": 1}}
LLAMA_CPP = {"timings": {"cache_n": 8, "prompt_n": 1}, "tokens_cached": 8, "prompt_progress": {"cache": 8}}
VLLM = {"kv_transfer_params": {"host": "a"}, "prompt_token_ids": [1], "metrics": {"cached": 8}}
OF_RESPONSE = {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 8}}
OF_MESSAGE = {"input_tokens": 1, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3, "output_tokens": 2}
OF_ALL = OF_MESSAGE | {"cache_creation": {"ephemeral_5m_input_tokens": 3}, "service_tier": "standard"}


@pytest.mark.parametrize(
    ("path", "answer", "usage"),
    [
        (CHAT, {"usage": USAGE | CACHED} | LLAMA_CPP | VLLM, USAGE | HEARD),
        ("/v1/completions", {"usage": USAGE | CACHED} | LLAMA_CPP, USAGE | HEARD),
        ("/v1/embeddings", {"usage": {"prompt_tokens": 9} | CACHED | LLAMA_CPP}, {"prompt_tokens": 9} | HEARD),
        (RESPONSES, {"usage": OF_RESPONSE}, OF_RESPONSE | {"input_tokens_details": {"cached_tokens": 0}}),
        (MESSAGES, {"usage": OF_ALL}, {"input_tokens": 9, "output_tokens": 2}),
    ],
)
def test_tokens_are_counted_as_if_there_were_no_cache(path, answer, usage):
    assert kept(path, answer) == {"usage": usage}


def test_a_count_that_is_none_is_not_passed():
    assert kept(CHAT, {"usage": {"prompt_tokens": "8 of 9 were cached", "total_tokens": True}}) == {}


def test_of_a_choice_and_of_an_output_the_known_members_pass():
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
    assert kept(CHAT, {"choices": [choice | {"token_ids": [1]}]}) == {"choices": [choice]}
    output = {"name": "y", "shape": [1], "datatype": "FP32", "data": [1.5]}
    told = {"outputs": [output | {"parameters": {"kv_cache_reused_blocks": 8, "content_type": "np"}}]}
    assert kept("/v2/models/m/infer", told) == {"outputs": [output | {"parameters": {"content_type": "np"}}]}


def streamed(dialect, path, *said, model=None):
    """What goes on of events of a name each, as pairs of name and data."""
    route = next(route for route in DIALECTS[dialect].routes if route.path == path)
    written = (b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in said)
    blocks = b"".join(events(written, route, shape="openai", model=model)).decode().strip().split("\n\n")
    pairs = (block.removeprefix("event: ").split("\ndata: ") for block in blocks)
    return [(name, json.loads(data)) for name, data in pairs]


def test_events_of_a_message_keep_their_names_and_lose_the_caches_counts():
    begun = {"type": "message_start", "message": {"id": "1", "model": "/model", "usage": OF_ALL}}
    more = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
    ended = {"type": "message_stop", "timings": LLAMA_CPP}
    known = {"id": "1", "model": "m", "usage": {"input_tokens": 9, "output_tokens": 2}}
    assert streamed("anthropic", MESSAGES, begun, more | LLAMA_CPP, ended, model="m") == [
        ("message_start", begun | {"message": known}),
        ("message_delta", more),
        ("message_stop", {"type": "message_stop"}),
    ]


def test_events_of_a_response_keep_their_names_and_lose_the_caches_counts():
    ended = {"type": "response.completed", "response": {"model": "/model", "usage": OF_RESPONSE} | LLAMA_CPP}
    ((name, told),) = streamed("openai", RESPONSES, ended, model="m")
    usage = OF_RESPONSE | {"input_tokens_details": {"cached_tokens": 0}}
    assert (name, told["response"]) == ("response.completed", {"output": [], "model": "m", "usage": usage})


def test_events_of_a_response_that_lack_their_numbers_get_them():
    """As llama.cpp's do."""
    events = [
        {"type": "response.created", "response": {}},
        {"type": "response.output_item.added", "item": {"id": "a"}},
        {"type": "response.content_part.added", "item_id": "a", "part": {}},
        {"type": "response.output_text.delta", "item_id": "a", "delta": "x"},
        {"type": "response.output_item.added", "item": {"id": "b"}},
        {"type": "response.function_call_arguments.delta", "item_id": "b", "delta": "{"},
        {"type": "response.output_text.delta", "item_id": "a", "delta": "y", "content_index": 7},
        {"type": "response.completed", "response": {}},
    ]
    told = [one for _, one in streamed("openai", RESPONSES, *events)]
    assert [one["sequence_number"] for one in told] == list(range(8))
    assert told[0]["response"] == {"output": []}
    assert [one.get("output_index") for one in told] == [None, 0, 0, 0, 1, 1, 0, None]
    assert [one.get("content_index") for one in told] == [None, None, 0, 0, None, None, 7, None]


def test_what_a_model_gives_to_a_tool_is_passed_as_it_is():
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"usage": {"cached_tokens": 1}, "timings": 2}}
    assert kept(MESSAGES, {"content": [block]}) == {"content": [block]}


@pytest.mark.parametrize(
    "failed",
    [
        {"type": "error", "code": "x", "message": "words of another"},
        {"type": "response.failed", "response": {"error": {"message": "words of another"}}},
    ],
)
def test_a_servers_own_error_within_a_stream_is_said_in_our_words(failed):
    ((name, told),) = streamed("openai", RESPONSES, failed)
    assert name == "error"
    assert "another" not in json.dumps(told)
