"""OpenAI's text API over any model: whole, streamed, tools, usage; each wrong field is one error that names it."""

import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.spelling_model import CountingEmbedder, SpellingModel

from cloister.engines.http_exchange import Request
from cloister.engines.text_api import Engine, handler

ASKED = {"model": "speller", "messages": [{"role": "user", "content": "Really?"}]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "ü"}}\n</tool_call>'
CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS = (
    f"/v1/{path}" for path in ("chat/completions", "completions", "responses", "embeddings")
)


def send(path, body, model=None, *, method="POST", **headers):
    """The status and the bytes of the answer, of a model that writes or one that embeds."""
    writes = None if isinstance(model, CountingEmbedder) else model or SpellingModel()
    embeds = model if isinstance(model, CountingEmbedder) else None
    handle = handler(Engine(("speller", "a/b"), lambda handle: True, writes=writes, embeds=embeds))
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = handle(Request(method, path, headers or {"content-type": "application/json"}, data))
    return answer.status, answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def answer_to(path, body, model=None):
    status, data = send(path, body, model)
    assert status == 200, data
    return json.loads(data)


def events(path, body, model=None):
    """The objects of a stream, and whether it ended as streams of completions do."""
    status, data = send(path, body | {"stream": True}, model)
    assert status == 200, data
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"], lines[-1] == "[DONE]"


def error(path, body, model=None):
    status, data = send(path, body, model)
    return status, json.loads(data)["error"]


def test_a_chat_is_answered_with_its_usage():
    model = SpellingModel("Größe 👋")
    answer = answer_to(CHAT, ASKED, model)
    [choice] = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Größe 👋", "refusal": None}
    assert choice["finish_reason"] == "stop"
    made = len("Größe 👋".encode()) + 1
    prompt = len(model.asked.encode())
    assert answer["usage"] == {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "speller"


def test_streamed_pieces_are_whole_characters_and_join_to_the_whole_answer():
    pieces, done = events(CHAT, ASKED | {"stream_options": {"include_usage": True}}, SpellingModel("Größe 👋🏽!"))
    said = [piece["choices"][0]["delta"].get("content", "") for piece in pieces if piece["choices"]]
    assert "".join(said) == "Größe 👋🏽!"
    assert "�" not in "".join(said)
    assert len(said) > 8
    assert pieces[0]["choices"][0]["delta"]["role"] == "assistant"
    assert pieces[-2]["choices"][0]["finish_reason"] == "stop"
    assert pieces[-1]["choices"] == []
    assert pieces[-1]["usage"]["completion_tokens"] == len("Größe 👋🏽!".encode()) + 1
    assert done
    assert len({piece["id"] for piece in pieces}) == 1


def test_usage_is_in_a_stream_only_where_it_is_asked_for():
    pieces, _ = events(CHAT, ASKED)
    assert all("usage" not in piece for piece in pieces)


def test_the_limit_ends_an_answer_and_says_so():
    answer = answer_to(CHAT, ASKED | {"max_completion_tokens": 2})
    assert answer["choices"][0]["message"]["content"] == "Ye"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


def test_a_huge_limit_is_what_the_context_has_room_for():
    model = SpellingModel(context=500)
    answer_to(CHAT, ASKED | {"max_tokens": 10**15}, model)
    assert model.sampled.limit == 500 - len(model.asked.encode())


def test_how_to_sample_is_passed_on():
    model = SpellingModel()
    answer_to(CHAT, ASKED | {"temperature": 0.5, "top_p": 0.25, "seed": 7, "max_tokens": 9}, model)
    assert (model.sampled.temperature, model.sampled.top_p, model.sampled.seed, model.sampled.limit) == (
        0.5,
        0.25,
        7,
        9,
    )


@pytest.mark.parametrize("stop", ["three", ["zzz", "three"], ["ee,", "three"]])
def test_a_stop_string_over_many_tokens_ends_the_answer_before_it_and_the_model_rests(stop):
    model = SpellingModel("one, two, three, four, five")
    assert answer_to(CHAT, ASKED | {"stop": stop}, model)["choices"][0]["message"]["content"] == "one, two, "
    assert model.made < len("one, two, three, f")
    pieces, _ = events(CHAT, ASKED | {"stop": stop}, model)
    assert "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces) == "one, two, "
    assert pieces[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_beginning_of_a_stop_string_that_does_not_come_is_said():
    assert answer_to(CHAT, ASKED | {"stop": "Yes!"})["choices"][0]["message"]["content"] == "Yes."


@pytest.mark.parametrize("before", ["", "Let me look. "])
def test_a_tool_call_is_parsed_whole_and_streamed(before):
    asked, model = ASKED | {"tools": [TOOL]}, SpellingModel(before + CALL)
    [choice] = answer_to(CHAT, asked, model)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == (before or None)
    [call] = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "look", "arguments": '{"at": "ü"}'}
    assert model.tools[0]["function"]["name"] == "look"
    pieces, _ = events(CHAT, asked, model)
    deltas = [piece["choices"][0]["delta"] for piece in pieces]
    assert "".join(delta.get("content") or "" for delta in deltas) == before
    [streamed] = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert streamed[0]["function"] == call["function"]
    assert pieces[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("written", ["<tool_call>\nnot JSON", "<tool_cal", '<tool_call>{"name": 7}', "a < b"])
def test_what_is_no_call_after_all_is_text(written):
    [choice] = answer_to(CHAT, ASKED | {"tools": [TOOL]}, SpellingModel(written))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (written, "stop")


def test_calls_of_llamas_kind_are_known_by_the_answers_beginning():
    template = '{{ tools }} {"name": function name, "parameters": dictionary}'
    called = SpellingModel(' {"name": "look", "parameters": {"at": 1}}', chat_template=template)
    [choice] = answer_to(CHAT, ASKED | {"tools": [TOOL]}, called)["choices"]
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": 1}'}
    said = SpellingModel('I say {"name": "look"}', chat_template=template)
    [choice] = answer_to(CHAT, ASKED | {"tools": [TOOL]}, said)["choices"]
    assert choice["message"]["content"] == 'I say {"name": "look"}'


def test_calls_of_mistrals_kind_are_a_list():
    model = SpellingModel('[TOOL_CALLS] [{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]')
    model.chat_template = "{{ tools }} [TOOL_CALLS]"
    asked = ASKED | {"tools": [TOOL]}
    assert [call["function"]["name"] for call in _calls(answer_to(CHAT, asked, model))] == ["a", "b"]
    assert len(_calls(answer_to(CHAT, asked | {"parallel_tool_calls": False}, model))) == 1


def _calls(answer):
    return answer["choices"][0]["message"]["tool_calls"]


@pytest.mark.parametrize(
    ("choice", "begun", "rest"),
    [
        ("required", '<tool_call>\n{"name": "', 'look", "arguments": {}}\n</tool_call>'),
        ({"type": "function", "function": {"name": "look"}}, '<tool_call>\n{"name": "look",', ' "arguments": {}}'),
    ],
)
def test_a_call_that_is_required_is_begun_for_the_model(choice, begun, rest):
    model = SpellingModel(rest)
    answer = answer_to(CHAT, ASKED | {"tools": [TOOL], "tool_choice": choice}, model)
    assert model.asked.endswith(begun)
    assert _calls(answer)[0]["function"] == {"name": "look", "arguments": "{}"}


def test_tool_choice_none_shows_the_model_no_tools():
    model = SpellingModel()
    answer_to(CHAT, ASKED | {"tools": [TOOL], "tool_choice": "none"}, model)
    assert model.tools is None


def test_messages_reach_the_template_as_plain_text_with_arguments_as_objects():
    call = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "seen", "tool_call_id": "call-1"},
    ]
    model = SpellingModel()
    answer_to(CHAT, ASKED | {"messages": messages}, model)
    assert [message["role"] for message in model.conversation] == ["system", "user", "assistant", "tool"]
    assert model.conversation[1]["content"] == "ab"
    assert model.conversation[2]["tool_calls"][0]["function"] == {"name": "look", "arguments": {"at": 1}}


def test_a_completion_is_whole_or_streamed():
    asked = {"model": "a/b", "prompt": "Well,", "max_tokens": 64}
    answer = answer_to(COMPLETIONS, asked, SpellingModel(" yes"))
    assert answer["choices"] == [{"index": 0, "text": " yes", "logprobs": None, "finish_reason": "stop"}]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    pieces, done = events(COMPLETIONS, asked | {"stream_options": {"include_usage": True}}, SpellingModel(" yes"))
    assert "".join(piece["choices"][0]["text"] for piece in pieces[:-1]) == " yes"
    assert pieces[-1]["usage"] == answer["usage"]
    assert done


@pytest.mark.parametrize("prompt", [[87, 101], [[87, 101]], ["We"]])
def test_a_prompt_may_be_tokens(prompt):
    model = SpellingModel()
    answer_to(COMPLETIONS, {"model": "speller", "prompt": prompt}, model)
    assert model.asked == "We"


def test_a_completion_has_sixteen_tokens_unless_it_says_otherwise():
    answer = answer_to(COMPLETIONS, {"model": "speller", "prompt": "x"}, SpellingModel("a" * 99))
    assert answer["usage"]["completion_tokens"] == 16


def test_a_response_is_whole_or_streamed():
    asked = {"model": "speller", "instructions": "Be brief.", "input": "Really?"}
    model = SpellingModel("Yes 👋.")
    answer = answer_to(RESPONSES, asked, model)
    assert [message["role"] for message in model.conversation] == ["system", "user"]
    assert answer["output"][0]["content"][0]["text"] == "Yes 👋."
    assert answer["status"] == "completed"
    assert answer["usage"]["total_tokens"] == answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"]
    pieces, done = events(RESPONSES, asked, model)
    assert "".join(piece["delta"] for piece in pieces if piece["type"] == "response.output_text.delta") == "Yes 👋."
    assert [piece["sequence_number"] for piece in pieces] == list(range(len(pieces)))
    assert pieces[0]["type"] == "response.created"
    assert pieces[-1]["type"] == "response.completed"
    assert pieces[-1]["response"]["usage"] == answer["usage"]
    assert not done


def test_a_response_that_was_cut_off_says_so():
    answer = answer_to(RESPONSES, {"model": "speller", "input": "Really?", "max_output_tokens": 2})
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    pieces, _ = events(RESPONSES, {"model": "speller", "input": "Really?", "max_output_tokens": 2})
    assert pieces[-1]["type"] == "response.incomplete"


def test_embeddings_are_numbers_or_their_bytes():
    asked = {"model": "speller", "input": ["ab", "c"]}
    answer = answer_to(EMBEDDINGS, asked, CountingEmbedder())
    assert [one["embedding"] for one in answer["data"]] == [[2.0, 98.0], [1.0, 99.0]]
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    packed = answer_to(EMBEDDINGS, asked | {"encoding_format": "base64"}, CountingEmbedder())
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == (2.0, 98.0)
    assert answer_to(EMBEDDINGS, asked | {"input": [97, 98]}, CountingEmbedder())["data"][0]["embedding"] == [2.0, 98.0]
    assert len(answer_to(EMBEDDINGS, asked | {"input": [[97], [98]]}, CountingEmbedder())["data"]) == 2


def test_models_are_listed_and_asked_for_by_name():
    _, listed = send("/v1/models", b"", method="GET")
    assert [one["id"] for one in json.loads(listed)["data"]] == ["speller", "a/b"]
    assert json.loads(send("/v1/models/a/b", b"", method="GET")[1])["id"] == "a/b"
    assert send("/v1/models/other", b"", method="GET")[0] == 404


def without(name):
    return {key: value for key, value in ASKED.items() if key != name}


def message(**fields):
    return ASKED | {"messages": [{"role": "user", "content": "Hi"} | fields]}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (without("model"), "model", "missing_required_parameter"),
        (without("messages"), "messages", "missing_required_parameter"),
        (ASKED | {"model": 7}, "model", "invalid_type"),
        (ASKED | {"messages": []}, "messages", "invalid_value"),
        (ASKED | {"messages": "Hi"}, "messages", "invalid_type"),
        (message(role="robot"), "messages[0].role", "invalid_value"),
        (message(content=7), "messages[0].content", "invalid_type"),
        (message(content=None), "messages[0].content", "invalid_value"),
        (message(more=1), "messages[0].more", "unknown_parameter"),
        (message(content=[{"type": "image_url", "image_url": {}}]), "messages[0].content[0].type", "invalid_value"),
        (message(role="tool"), "messages[0].tool_call_id", "invalid_value"),
        (
            message(tool_calls=[{"id": "1", "function": {"name": "f", "arguments": ""}}]),
            "messages[0].tool_calls",
            "invalid_value",
        ),
        (
            message(role="assistant", tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "{"}}]),
            "messages[0].tool_calls[0].function.arguments",
            "invalid_value",
        ),
        (
            message(
                role="assistant", tool_calls=[{"id": "1", "function": {"name": "f", "arguments": r'{"at": "\ud800"}'}}]
            ),
            "messages[0].tool_calls[0].function.arguments",
            "invalid_value",
        ),
        (ASKED | {"temperature": 2.1}, "temperature", "invalid_value"),
        (ASKED | {"temperature": True}, "temperature", "invalid_type"),
        (ASKED | {"temperature": "hot"}, "temperature", "invalid_type"),
        (ASKED | {"top_p": 0}, "top_p", "invalid_value"),
        (ASKED | {"seed": 2**70}, "seed", "invalid_value"),
        (ASKED | {"max_tokens": 0}, "max_tokens", "invalid_value"),
        (ASKED | {"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", "invalid_value"),
        (ASKED | {"n": 2}, "n", "invalid_value"),
        (ASKED | {"stop": ""}, "stop", "invalid_value"),
        (ASKED | {"stop": ["a"] * 5}, "stop", "invalid_value"),
        (ASKED | {"stop": "a" * 257}, "stop", "invalid_value"),
        (ASKED | {"presence_penalty": 1}, "presence_penalty", "invalid_value"),
        (ASKED | {"logit_bias": {"5": 1}}, "logit_bias", "unsupported_parameter"),
        (ASKED | {"logprobs": True}, "logprobs", "unsupported_parameter"),
        (ASKED | {"top_logprobs": 3}, "top_logprobs", "unsupported_parameter"),
        (ASKED | {"store": True}, "store", "unsupported_parameter"),
        (ASKED | {"functions": []}, "functions", "unsupported_parameter"),
        (ASKED | {"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
        (ASKED | {"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        (ASKED | {"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        (ASKED | {"tool_choice": "required"}, "tool_choice", "invalid_value"),
        (
            ASKED | {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
            "tool_choice",
            "invalid_value",
        ),
        (ASKED | {"tools": [{"type": "code"}]}, "tools[0].type", "invalid_value"),
        (ASKED | {"tools": [TOOL] * 129}, "tools", "invalid_value"),
        (ASKED | {"colour": "red"}, "colour", "unknown_parameter"),
        (ASKED | {"a very long and odd name \n": 1}, None, "unknown_parameter"),
        (message(content="x" * 5000), "messages", "context_length_exceeded"),
        (ASKED | {"messages": [{"role": "user", "content": "Hi"}] * 2049}, "messages", "invalid_value"),
        ([], None, "invalid_type"),
        (b"", None, "invalid_json"),
        (b"{", None, "invalid_json"),
        (b'{"model": "\xff"}', None, "invalid_json"),
        (b'{"model": NaN}', None, "invalid_json"),
        (rb'{"model": "speller", "messages": [{"role": "user", "content": "\ud800"}]}', None, "invalid_json"),
        (rb'{"model": "speller", "messages": "\udfff"}', None, "invalid_json"),
        (rb'{"model": "speller", "\ud800": 1}', None, "invalid_json"),
        (b"[" * 100_000, None, "invalid_json"),
    ],
)
def test_each_wrong_field_of_a_chat_is_one_error_that_names_it(body, param, code):
    status, said = error(CHAT, body)
    assert (status, said["param"], said["code"]) == (400, param, code)
    assert said["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (COMPLETIONS, {"model": "speller"}, "prompt"),
        (COMPLETIONS, {"model": "speller", "prompt": []}, "prompt"),
        (COMPLETIONS, {"model": "speller", "prompt": ["a", "b"]}, "prompt"),
        (COMPLETIONS, {"model": "speller", "prompt": [1.5]}, "prompt"),
        (COMPLETIONS, {"model": "speller", "prompt": [-1]}, "prompt"),
        (COMPLETIONS, {"model": "speller", "prompt": [10**9]}, "prompt"),
        (COMPLETIONS, {"model": "speller", "prompt": "a", "best_of": 3}, "best_of"),
        (COMPLETIONS, {"model": "speller", "prompt": "a", "echo": True}, "echo"),
        (COMPLETIONS, {"model": "speller", "prompt": "a", "suffix": "b"}, "suffix"),
        (COMPLETIONS, {"model": "speller", "prompt": "a", "logprobs": 1}, "logprobs"),
        (COMPLETIONS, {"model": "speller", "prompt": "a" * 5000}, "prompt"),
        (RESPONSES, {"model": "speller"}, "input"),
        (RESPONSES, {"model": "speller", "input": "a", "previous_response_id": "x"}, "previous_response_id"),
        (RESPONSES, {"model": "speller", "input": "a", "tools": []}, "tools"),
        (RESPONSES, {"model": "speller", "input": "a", "store": True}, "store"),
        (RESPONSES, {"model": "speller", "input": "a", "truncation": "auto"}, "truncation"),
        (RESPONSES, {"model": "speller", "input": "a", "text": {"format": {"type": "json_schema"}}}, "text.format"),
        (
            RESPONSES,
            {"model": "speller", "input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
        ),
    ],
)
def test_each_wrong_field_elsewhere_is_one_error_that_names_it(path, body, param):
    status, said = error(path, body)
    assert (status, said["param"]) == (400, param)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a", 7]}, "input"),
        ({"input": [300]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a" * 65}, "input"),
        ({"dimensions": 1}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_each_wrong_field_of_an_embedding_is_one_error_that_names_it(change, param):
    status, said = error(EMBEDDINGS, {"model": "speller", "input": "a"} | change, CountingEmbedder())
    assert (status, said["param"]) == (400, param)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS])
def test_another_model_is_not_found(path):
    body = {"model": "secret", "input": "a", "prompt": "a", "messages": ASKED["messages"]}
    wanted = {CHAT: "messages", COMPLETIONS: "prompt"}.get(path, "input")
    status, said = error(path, {"model": "secret", wanted: body[wanted]})
    assert (status, said["param"], said["code"]) == (404, "model", "model_not_found")
    assert "secret" not in said["message"]


def test_a_model_that_writes_does_not_embed_and_the_other_way_round():
    assert error(EMBEDDINGS, {"model": "speller", "input": "a"})[1]["code"] == "unsupported_model"
    assert error(CHAT, ASKED, CountingEmbedder())[1]["code"] == "unsupported_model"
    assert error(CHAT, ASKED, SpellingModel(chat_template=None))[1]["code"] == "unsupported_model"
    tools = ASKED | {"tools": [TOOL]}
    assert error(CHAT, tools, SpellingModel(chat_template="{{ messages }}"))[1]["param"] == "tools"


def test_other_paths_and_methods_are_refused():
    assert error("/v1/pause", ASKED)[0] == 404
    assert send(CHAT, b"", method="GET")[0] == 405
    assert send(CHAT, ASKED, **{"content-type": "text/plain"})[0] == 415


def test_an_engine_that_fails_at_once_is_an_error_and_one_that_fails_later_an_event():
    status, data = send(CHAT, ASKED | {"stream": True}, SpellingModel(fails_after=0))
    assert (status, json.loads(data)["error"]["code"]) == (500, "engine_fault")
    status, data = send(CHAT, ASKED | {"stream": True}, SpellingModel(fails_after=2))
    assert (status, data.count(b'"error"')) == (200, 1)
    assert not data.endswith(b"[DONE]\n\n")


def test_what_it_was_sent_is_in_no_error():
    for body in (message(role="SECRET"), ASKED | {"tool_choice": "SECRET"}, b'{"SECRET'):
        assert b"SECRET" not in send(CHAT, body)[1]


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_answered_or_refused(data):
    for path in (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS):
        assert send(path, data)[0] in (200, 400, 404)
