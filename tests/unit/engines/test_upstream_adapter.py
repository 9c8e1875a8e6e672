"""The adapter of an upstream, before a server that is not ours, in one process: what passes, and what is told."""

import contextlib
import json
import socket
import threading
import time

import msgspec
import pytest
from tests.doubles import model_server
from tests.doubles.upstreams import definition

from cloister.engines import ended
from cloister.engines.http_exchange import Request
from cloister.engines.upstream_adapter import Adapter
from cloister.engines.upstream_dialects import DIALECTS, endpoints
from cloister.engines.upstream_errors import UpstreamError
from cloister.engines.upstream_link import Place
from cloister.engines.upstream_request import Salts, read_object, rewritten
from cloister.formats.contract import Endpoint

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
WRITING = [CHAT, "/v1/completions"]
SECRET = "5f2c" * 8


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("upstream") / "s")
    server = model_server.in_thread(path)
    yield path
    server.shutdown()
    server.server_close()


@pytest.fixture
def adapter(address):
    return of(address)


def of(address, **changes):
    known = definition(**changes)
    return Adapter(known, Place(address, 0.5, 256 * 1024), Salts(), known.model)


def ask(adapter, path=CHAT, *, method="POST", **fields):
    body = json.dumps(fields).encode() if fields else b""
    return adapter.handler(Request(method, path, {"content-type": "application/json"}, body))


def chat(adapter, said, **fields):
    return ask(adapter, model="m", messages=[{"role": "user", "content": said}], **fields)


def got(adapter, **fields):
    """The body that the upstream got."""
    answer = json.loads(chat(adapter, "say what you got", **fields).body)
    return json.loads(answer["choices"][0]["message"]["content"])


def error(answer):
    return answer.status, json.loads(answer.body)["error"]


def test_an_answer_passes_with_the_clients_name_of_the_model_and_with_usage(adapter):
    answer = chat(adapter, "count")
    found = json.loads(answer.body)
    assert answer.status == 200
    assert found["choices"][0]["message"]["content"] == "one two three"
    assert found["model"] == "m"
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_events_pass_one_by_one_as_they_come(adapter):
    began, times, pieces = time.monotonic(), [], []
    for piece in chat(adapter, "count", stream=True).body:
        times.append(time.monotonic() - began)
        pieces.append(piece)
    assert [piece for piece in pieces if b"[DONE]" in piece] == [pieces[-1]]
    assert len(pieces) == 4
    assert times[1] - times[0] > 0.1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ("/pause", "/update_weights", "/v1/load_lora_adapter", "/tokenize", "/sleep")),
        *(("GET", path) for path in ("/metrics", "/docs", "/openapi.json", "/slots", "/props", "/v1/responses/resp_1")),
        ("POST", f"{CHAT}/"),
        ("POST", f"/{CHAT}"),
        ("POST", "/v1/x/../chat/completions"),
        ("POST", "/v1%2fchat/completions"),
        ("POST", "/V1/chat/completions"),
        ("GET", "/v1/models/.."),
        ("GET", "/v1/models/a/b"),
        ("POST", "/v2/repository/models/m/load"),
    ],
)
def test_every_other_path_is_not_there(adapter, method, path):
    assert error(ask(adapter, path, method=method, model="m"))[1]["code"] in {"unknown_url", "model_not_found"}


def test_another_method_is_refused(adapter):
    assert error(ask(adapter, method="GET"))[0] == 405


def test_a_definition_can_open_fewer_paths(address):
    narrow = of(address, paths=["/v1/embeddings"])
    assert error(chat(narrow, "count"))[0] == 404
    assert ("POST", CHAT) not in endpoints("vllm", ("/v1/embeddings",))
    assert ("GET", "/v1/models") in endpoints("vllm", ("/v1/embeddings",))


def test_the_models_are_those_of_the_definition(adapter):
    listed = json.loads(ask(adapter, "/v1/models", method="GET").body)
    assert [one["id"] for one in listed["data"]] == ["m", "org/m"]
    assert ask(adapter, "/v1/models/m", method="GET").status == 200
    assert error(ask(adapter, "/v1/models/other", method="GET"))[0] == 404


def test_an_unknown_model_is_not_found_and_its_name_is_not_repeated(adapter):
    status, told = error(ask(adapter, model="a secret name", messages=[]))
    assert (status, told["code"], told["param"]) == (404, "model_not_found", "model")
    assert "secret" not in told["message"]


@pytest.mark.parametrize(
    "field",
    ["kv_transfer_params", "ec_transfer_params", "request_id", "priority", "chat_template", "lora_request",
     "prompt_embeds", "vllm_xargs", "mm_processor_kwargs", "media_io_kwargs", "session_id", "cache_prompt", "id_slot"],
)  # fmt: skip
def test_fields_that_reach_past_the_request_are_refused_by_name(adapter, field):
    status, told = error(chat(adapter, "count", **{field: 1}))
    assert (status, told["code"], told["param"]) == (400, "unknown_parameter", field)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/a.png", "https://a.example/b", "file:///etc/passwd", "FILE:/x", "//a.example", "ftp://x"]
)
@pytest.mark.parametrize("shape", ["image_url", "video_url", "source"])
def test_nothing_is_fetched_from_elsewhere(adapter, url, shape):
    content = [{"type": shape, shape: {"url": url}}]
    assert error(ask(adapter, model="m", messages=[{"role": "user", "content": content}]))[0] == 400


def test_an_image_in_the_request_passes_and_one_that_others_share_does_not(adapter):
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert ask(adapter, model="m", messages=[{"role": "user", "content": [part]}]).status == 200
    shared = part | {"uuid": "one of another's"}
    assert error(ask(adapter, model="m", messages=[{"role": "user", "content": [shared]}]))[0] == 400


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": ["http://192.0.2.1/x"]},
        {"type": "image_url", "image_url": {"url": "data:,x"}, "image": "file:///etc/passwd"},
        {"type": "text", "text": "x", "path": "/model/config.json"},
        {"type": "image", "path": "/model/config.json"},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "input_audio", "input_audio": {"data": "file:///model/a.wav", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"text": "without a kind"},
    ],
)
def test_a_part_of_another_kind_or_with_another_member_is_refused(adapter, part):
    status, told = error(ask(adapter, model="m", messages=[{"role": "user", "content": [part]}]))
    assert (status, told["param"]) == (400, "messages")
    assert told["message"].startswith("messages[0].content[0]")
    assert "/model" not in told["message"]


def test_an_earlier_answer_with_its_calls_and_their_results_passes(adapter):
    called = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "url": "any"}}}
    messages = [
        {"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "done"}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]},
    ]
    assert ask(adapter, model="m", messages=messages, tools=[tool]).status == 200


@pytest.mark.parametrize("reference", ["http://192.0.2.1/x", "file:///etc/passwd", "other.json#/a"])
def test_a_schema_refers_to_nothing_outside_of_it(adapter, reference):
    leads = {"$ref": "#/$defs/b"}
    schema = {"type": "object", "properties": {"$ref": {"type": "string"}, "a": leads}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert chat(adapter, "count", tools=[tool]).status == 200
    leads["$ref"] = reference
    assert error(chat(adapter, "count", tools=[tool]))[1]["param"] == "tools"
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert error(chat(adapter, "count", response_format=wanted))[1]["param"] == "response_format"


def test_the_server_is_told_each_time_whether_to_stream(adapter):
    """`transformers serve` streams a response unless it is told not to; others read "true" for true."""
    assert got(adapter)["stream"] is False
    assert error(chat(adapter, "count", stream="true"))[1]["param"] == "stream"


def test_a_tool_that_the_server_would_run_is_refused(adapter):
    tool = {"type": "mcp", "server_url": "http://192.0.2.1/"}
    assert error(chat(adapter, "count", tools=[tool]))[1]["param"] == "tools"


TEXT = {"type": "text", "text": "x"}
PICTURE = {"type": "base64", "media_type": "image/png", "data": "AA=="}


@pytest.mark.parametrize(
    ("block", "taken"),
    [
        (TEXT | {"cache_control": {"type": "ephemeral"}}, True),
        ({"type": "image", "source": PICTURE}, True),
        ({"type": "tool_use", "id": "t", "name": "f", "input": {"url": "any", "path": "any"}}, True),
        ({"type": "tool_result", "tool_use_id": "t", "content": [TEXT]}, True),
        ({"type": "image", "source": {"type": "url", "url": "http://192.0.2.1/"}}, False),
        ({"type": "image", "source": PICTURE | {"path": "/model"}}, False),
        ({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "path": "/model"}]}, False),
    ],
)
def test_blocks_of_anthropics_pass_by_their_kind_and_members(block, taken):
    fields = {"messages": [{"role": "user", "content": [block]}]}
    assert admitted("anthropic", "/v1/messages", fields) == taken


@pytest.mark.parametrize(
    ("item", "taken"),
    [
        ({"role": "user", "content": "x"}, True),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]}, True),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, True),
        ({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, False),
        ({"role": "user", "content": [{"type": "input_file", "file_url": "http://192.0.2.1/"}]}, False),
        ({"type": "item_reference", "id": "msg_1"}, False),
    ],
)
def test_items_of_responses_pass_by_their_kind_and_members(item, taken):
    assert admitted("openai", "/v1/responses", {"input": [item]}) == taken


def admitted(dialect, path, fields):
    route = next(one for one in DIALECTS[dialect].routes if one.path == path)
    try:
        rewritten(route, DIALECTS[dialect], fields, Salts())
    except UpstreamError:
        return False
    return True


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 9), ("n", "9"), ("n", 9.0), ("n", True), ("max_tokens", 131_073), ("max_completion_tokens", -1),
     ("min_tokens", 10**9), ("top_logprobs", 21), ("logprobs", -1)],
)  # fmt: skip
def test_amounts_over_their_caps_are_refused_by_name(adapter, field, value):
    assert error(chat(adapter, "count", **{field: value}))[1]["param"] == field


def test_amounts_within_their_caps_pass(adapter):
    assert got(adapter, n=8, max_tokens=131_072, logprobs=True, top_logprobs=20)["max_tokens"] == 131_072


def test_template_arguments_that_replace_the_template_are_refused(adapter):
    assert got(adapter, chat_template_kwargs={"enable_thinking": False})["chat_template_kwargs"] == {
        "enable_thinking": False
    }
    assert error(chat(adapter, "count", chat_template_kwargs={"chat_template": "{{ x }}"}))[0] == 400


def test_every_request_has_a_salt_of_its_own(adapter):
    salts = {got(adapter)["cache_salt"] for _ in range(3)}
    assert len(salts) == 3
    assert all(len(salt) == 64 for salt in salts)


def test_a_conversation_has_one_salt_where_the_client_shows_a_secret(adapter):
    one, again = (got(adapter, prompt_cache_key=SECRET) for _ in range(2))
    assert one["cache_salt"] == again["cache_salt"] != got(adapter, prompt_cache_key=SECRET[::-1])["cache_salt"]
    assert "prompt_cache_key" not in one
    assert SECRET not in one["cache_salt"]


def test_what_is_too_short_for_a_secret_is_not_taken_for_one(adapter):
    assert len({got(adapter, prompt_cache_key="my-app")["cache_salt"] for _ in range(2)}) == 2
    assert len({got(adapter, cache_salt="mine")["cache_salt"] for _ in range(2)}) == 2


def test_another_start_of_the_adapter_derives_another_salt(address):
    assert len({got(of(address), prompt_cache_key=SECRET)["cache_salt"] for _ in range(2)}) == 2


def test_llama_cpp_is_told_to_keep_no_prompt(address):
    assert got(of(address, dialect="llama.cpp"))["cache_prompt"] is False
    assert "cache_salt" not in got(of(address, dialect="llama.cpp"))


def test_what_clients_say_of_themselves_never_arrives(adapter):
    assert got(adapter, user="u", metadata={"a": "b"}, safety_identifier="s").keys() == {
        "model", "messages", "cache_salt", "stream",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"model":"m","model":"n","messages":[]}',
        b'{"n":NaN}',
        b"\xff",
        b'{"a":' * 99 + b"1" + b"}" * 99,
        b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"a": 1e999}',
        *(
            rb'{"model": "m", "messages": [{"role": "user", "content": "count"}], ' + lone + b"}"
            for lone in (rb'"tools": "\ud800"', rb'"\ud800": 1', rb'"user": "a\udfffb"', rb'"stop": ["\udc00\ud83d"]')
        ),
        rb'{"model": "m", "messages": "\ud800"}',
        rb'{"model": "m", "messages": [{"role": "user", "content": [{"type": "\ud800"}]}]}',
        rb'{"model": "m", "messages": [{"role": "user", "content": "count", "\ud800": 1}]}',
    ],
)
def test_what_is_not_one_json_object_is_refused(adapter, body):
    answer = adapter.handler(Request("POST", CHAT, {}, body))
    assert error(answer)[0] == 400


def test_a_text_of_whole_pairs_reaches_the_server(adapter):
    assert got(adapter, stop=["\N{WAVING HAND SIGN}"])["stop"] == ["\N{WAVING HAND SIGN}"]


@pytest.mark.parametrize(
    "much",
    [
        b'{"seed":[' + b"[]," * 100_000 + b"1]}",
        b'{"seed":[' + b"{}," * 100_000 + b"1]}",
        b'{"seed":{' + b'"":"",' * 100_000 + b'"":""}}',
        b'{"seed":[' + b"0," * 1_000_001 + b"0]}",
        b'{"seed":[' + b'"a" ,' * 1_000_001 + b'"a"]}',
        b'""' * 1_000_001 + b"," * 1_000_000,
        b"[]" * 12_000_000,
    ],
    ids=["lists", "objects", "members", "numbers", "strings", "nothing but strings", "nothing but lists"],
)
def test_a_body_of_more_than_any_request_needs_is_refused_before_it_is_read(adapter, much):
    status, told = error(adapter.handler(Request("POST", CHAT, {}, much)))
    assert (status, told["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": '[{:,\\"' * 2_000_000}]},
        {"messages": [{"role": "user", "content": "count"}] * 10_000},
        {"messages": [{"role": "user", "content": "count"}], "stop_token_ids": list(range(900_000))},
    ],
    ids=["a text of marks", "a long chat", "many tokens"],
)
def test_large_requests_pass(fields):
    vllm = DIALECTS["vllm"]
    route = next(route for route in vllm.routes if route.path == CHAT)
    assert (
        json.loads(rewritten(route, vllm, read_object(json.dumps(fields).encode()), Salts())).items() >= fields.items()
    )


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("hang", 504, "upstream_timeout"),
        ("error", 400, "context_length_exceeded"),
        ("malformed", 502, "upstream_failed"),
        ("noise", 502, "upstream_failed"),
        ("endless", 502, "upstream_failed"),
        ("cut_whole", 502, "upstream_failed"),
    ],
)
def test_each_fault_of_a_whole_answer_is_one_error_that_quotes_nothing(adapter, fault, status, code):
    chat(adapter, "the prompt of another")
    answer = chat(adapter, fault)
    found, told = error(answer)
    assert (found, told["code"]) == (status, code)
    assert b"prompt of another" not in answer.body
    assert chat(adapter, "count").status == 200


@pytest.mark.parametrize("fault", ["cut", "disorder", "stream_error"])
def test_each_fault_of_a_stream_ends_it_with_one_error(adapter, fault):
    pieces = list(chat(adapter, fault, stream=True).body)
    assert pieces[-1].startswith(b"event: error\n")
    assert json.loads(pieces[-1].split(b"data: ")[1])["error"]["code"] == "upstream_failed"
    assert b"messages" not in b"".join(pieces)


@pytest.mark.parametrize(
    "answer",
    [
        b"one two three",  # as HTTP/0.9
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",  # ends with the connection, which could be a cut
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"a: b\r\n" * 9000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 9000 + b"\r\n",
        b"HTTP/1.1 200 " + b"O" * 100_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;" + b"x" * 100_000,
    ],
)
def test_what_is_no_plain_answer_of_http_is_a_failure_of_the_server(tmp_path, answer):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def serve():
            with listener.accept()[0] as link:
                link.recv(65536)
                with contextlib.suppress(OSError):
                    link.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        assert error(chat(of(str(tmp_path / "s")), "count"))[1]["code"] == "upstream_failed"
        server.join()


def test_an_upstream_that_is_gone_is_said_to_be(tmp_path):
    assert error(chat(of(str(tmp_path / "nothing")), "count"))[0] == 503


def test_what_is_no_stream_is_not_passed_for_one(adapter):
    assert error(chat(adapter, "noise", stream=True))[0] == 502


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v2/models/m/infer", {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.5]}]}),
        ("/v2/models/m/versions/1/infer", {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.5]}]}),
    ],
)
def test_inference_of_kserve_passes(address, path, fields):
    answer = json.loads(ask(of(address, dialect="kserve"), path, **fields).body)
    assert answer["outputs"][0]["data"] == [1.5]


TENSOR = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
INFER, GENERATE = "/v2/models/{id}/infer", "/v2/models/{id}/generate"


@pytest.mark.parametrize(
    ("path", "fields", "taken"),
    [
        (INFER, {"inputs": [TENSOR | {"parameters": {"content_type": "np"}}]}, True),
        (INFER, {"inputs": [TENSOR], "parameters": {"binary_data_output": False}}, True),
        (INFER, {"inputs": [TENSOR], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}, True),
        (GENERATE, {"text_input": "x", "parameters": {"temperature": 0, "stop": ["."]}, "stream": False}, True),
        (INFER, {"inputs": [TENSOR | {"parameters": {"shared_memory_region": "a"}}]}, False),
        (INFER, {"inputs": [TENSOR | {"parameters": {"binary_data_size": 4}}]}, False),
        (INFER, {"inputs": [TENSOR | {"raw": "AA=="}]}, False),
        (INFER, {"inputs": [TENSOR], "parameters": {"sequence_id": 1}}, False),
        (INFER, {"inputs": [TENSOR], "parameters": {"priority": 1}}, False),
        (INFER, {"inputs": [TENSOR], "parameters": {"headers": {"a": "b"}}}, False),
        (INFER, {"inputs": [TENSOR], "parameters": {"binary_data_output": True}}, False),
        (INFER, {"inputs": [TENSOR], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "a"}}]}, False),
        (INFER, {"inputs": [TENSOR], "parameters": {"of a new version": 1}}, False),
        (GENERATE, {"text_input": "x", "parameters": {"lora_task_id": 1}}, False),
        (GENERATE, {"text_input": "x", "parameters": {"stop": {"path": "/model"}}}, False),
        (GENERATE, {"text_input": "x", "image_input": "file:///model"}, False),
    ],
)
def test_tensors_and_parameters_of_kserve_pass_by_their_names(path, fields, taken):
    assert admitted("kserve", path, fields) == taken


def test_a_refusal_of_kserve_has_its_shape_and_an_unknown_model_is_not_there(address):
    kserve = of(address, dialect="kserve")
    answer = ask(kserve, "/v2/models/m/infer", inputs=[TENSOR], parameters={"sequence_id": 1})
    assert answer.status == 400
    assert "content_type" in json.loads(answer.body)["error"]
    assert ask(kserve, "/v2/models/other/infer", inputs=[]).status == 404
    assert ask(kserve, "/v2/models/m", method="GET").status == 200


def test_speech_is_not_heard_by_a_vllm_that_cannot_salt_it(address):
    assert error(spoken(of(address, dialect="vllm")))[1]["code"] == "unknown_url"


def test_errors_have_the_shape_of_the_dialect(address):
    told = json.loads(ask(of(address, dialect="anthropic"), "/v1/messages", model="x", messages=[], max_tokens=1).body)
    assert told["type"] == "error"
    assert told["error"]["type"] == "not_found_error"


def spoken(adapter, **fields):
    parts = {"model": "m"} | fields
    lines = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts.items()
    ]
    lines.append(
        '--b\r\nContent-Disposition: form-data; name="file"; filename="my secret.WAV"\r\n\r\nRIFF\r\n--b--\r\n'
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    return adapter.handler(Request("POST", "/v1/audio/transcriptions", headers, "".join(lines).encode()))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("text", b"good morning\n"),
        ("srt", b"1\n00:00:00,000 --> 00:00:01,250\ngood morning\n\n"),
        ("vtt", b"WEBVTT\n\n00:00:00.000 --> 00:00:01.250\ngood morning\n\n"),
    ],
)
def test_formats_that_a_whisper_server_lacks_are_made_of_its_own_times(address, wanted, found):
    assert spoken(of(address, dialect="whisper"), response_format=wanted).body == found


def test_a_format_that_cannot_be_had_truly_is_refused(address):
    bare = of(address, dialect="whisper", transcription_formats=["json"])
    assert spoken(bare, response_format="text").body == b"good morning\n"
    assert error(spoken(bare, response_format="srt"))[1]["param"] == "response_format"


def test_a_transcription_has_usage_and_no_empty_language(address):
    found = json.loads(spoken(of(address, dialect="whisper"), language="").body)
    assert found == {"text": " good morning", "duration": 1.2, "usage": {"type": "duration", "seconds": 2}}


def test_of_a_file_its_kind_alone_is_told_and_an_empty_language_is_not(address):
    found = json.loads(spoken(of(address, dialect="whisper"), prompt="tell", language=" ").body)["text"]
    assert 'filename="audio.wav"' in found
    assert "secret" not in found
    assert 'name="language"' not in found


def test_the_self_test_asks_twice_and_does_not_take_a_garbled_answer(adapter, address, tmp_path):
    assert adapter.shortfall() is None
    case = {"path": CHAT, "body": {"messages": [{"role": "user", "content": "count"}]}, "expect": {"text": "four"}}
    (tmp_path / "selftest.json").write_text(json.dumps({"version": 1, "cases": [case]}))
    tested = Adapter(adapter.definition, adapter.place, adapter.salts, adapter.model, tmp_path)
    assert tested.shortfall() == ended.CASES + 1
    assert ask(tested, "/selftest", method="GET").status == 503


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"dialect": "vllm", "paths": WRITING, "prompt_cache": "asked"}, None),
        ({"dialect": "llama.cpp", "paths": WRITING, "prompt_cache": "asked"}, None),
        ({"dialect": "llama.cpp", "prompt_cache": "none"}, "/v1/messages"),
        ({"dialect": "anthropic", "prompt_cache": "asked"}, "/v1/messages"),
        ({"dialect": "openai", "prompt_cache": "asked"}, CHAT),
        ({"dialect": "openai", "prompt_cache": "none"}, CHAT),
    ],
)
def test_a_server_whose_prompt_cache_knows_other_requests_is_not_ready(address, changes, path):
    model_server.CACHED.clear()
    asked = of(address, **changes)
    opened = frozenset(one for _, one in endpoints(asked.definition.dialect, asked.definition.paths))
    assert asked.shares(opened) == (path and f"its prompt cache is shared: at {path} it knew what another had asked")
    assert asked.shortfall() == (path and ended.SHARED)


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp"])
def test_embeddings_need_the_definitions_word_that_no_cache_is_shared(address, dialect):
    opened = [*WRITING, EMBEDDINGS]
    asked = of(address, dialect=dialect, paths=opened, prompt_cache="asked")
    wrong = f"at {EMBEDDINGS} nothing shows whether requests share a prompt cache: see prompt_cache in upstream.toml"
    assert (asked.shares(frozenset(opened)), asked.shortfall()) == (wrong, ended.SHARED)
    assert of(address, dialect=dialect, paths=opened, prompt_cache="none").shortfall() is None


def test_an_api_without_a_question_for_every_model_needs_cases_of_its_own(address, tmp_path):
    asked = of(address, dialect="kserve", prompt_cache="none")
    assert asked.shortfall() is None
    filled = Adapter(asked.definition, asked.place, asked.salts, asked.model, tmp_path)
    assert filled.shortfall() == ended.UNTESTED
    case = {"path": "/v2/health/ready", "expect": {"status": 200}}
    (tmp_path / "selftest.json").write_text(json.dumps({"version": 1, "cases": [case]}))
    assert filled.shortfall() is None


def test_what_a_conversations_cache_knew_is_not_told_to_its_client_either(adapter):
    for _ in range(2):
        answer = json.loads(chat(adapter, "count", prompt_cache_key=SECRET).body)
        assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        assert "timings" not in answer


def test_errors_of_messages_have_their_own_shape_beside_openais(address):
    both = of(address, dialect="llama.cpp")
    told = json.loads(ask(both, "/v1/messages", model="x", messages=[], max_tokens=1).body)
    assert told["error"]["type"] == "not_found_error"
    assert error(ask(both, CHAT, model="x", messages=[]))[1]["code"] == "model_not_found"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialects_paths_can_stand_in_a_contract(dialect):
    for method, path in endpoints(dialect, ()):
        msgspec.convert({"method": method, "path": path}, Endpoint)
