"""Whatever an upstream answers, whole, streamed or heard: JSON that any client reads, or the dialect's 502."""

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloister.engines.http_exchange import Request
from cloister.engines.upstream_answers import kept, read_answer
from cloister.engines.upstream_audio import FORMATS, Form
from cloister.engines.upstream_dialects import CHAT, DIALECTS, MESSAGES, RESPONSES, TRANSCRIPTIONS, Route
from cloister.engines.upstream_errors import UpstreamError
from cloister.engines.upstream_events import events

NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 41, "9" * 4300, "9" * 5000)
MEMBERS = [
    "choices",
    "usage",
    "timings",
    "message",
    "response",
    "item",
    "delta",
    "text",
    "segments",
    "start",
    "end",
    "duration",
    "seconds",
    "type",
    "index",
    "prompt_tokens",
    "input_tokens",
    "cache_read_input_tokens",
    "input_tokens_details",
    "cached_tokens",
    "language",
    "outputs",
    "data",
]


def object_of(members):
    return f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in members.items())}}}"


written = st.recursive(
    st.one_of(
        st.sampled_from([*NUMBERS, "null", "true", "-1", "0", "1e308", "9" * 40, r'"\ud800"', '"x"', '"inf"', '"nan"']),
        st.integers().map(str),
        st.text(max_size=4).map(json.dumps),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5).map(object_of),
    ),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=40),
    written.map(str.encode),
    st.dictionaries(st.sampled_from(MEMBERS), written, max_size=5).map(lambda members: object_of(members).encode()),
)


@contextlib.contextmanager
def failing_as_the_server():
    """Of what leaves the block by an error, none is another than the 502."""
    status = 502
    try:
        yield
    except UpstreamError as error:
        status = error.http_status
    assert status == 502


def strict(data):
    """What a reader finds that knows the standard's numbers alone."""

    def none_such(text):
        raise AssertionError(text)

    return json.loads(data.decode(), parse_constant=none_such)


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES, "/v2/models/m/infer"])
@given(body=bodies)
def test_a_whole_answer_can_be_written_or_is_a_failure_of_the_server(path, body):
    with failing_as_the_server():
        told = kept(path, read_answer(body), model="m")
        assert strict(json.dumps(told).encode()) == told


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@given(body=bodies)
def test_an_event_can_be_written_or_is_a_failure_of_the_server(dialect, body):
    for route in DIALECTS[dialect].routes:
        for one in events([b"data: " + body + b"\n\n"], route, shape=DIALECTS[dialect].errors):
            for line in one.splitlines():
                if line.startswith(b"data: ") and line != b"data: [DONE]":
                    assert isinstance(strict(line[6:]), dict)


def form(wanted, native):
    parts = {"model": "m", "response_format": wanted, 'file"; filename="a.wav': "RIFF"}
    lines = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{parts[name]}\r\n' for name in parts]
    head = {"content-type": "multipart/form-data; boundary=b"}
    route = Route("POST", TRANSCRIPTIONS, "form", frozenset({"model", "response_format"}))
    return Form(Request("POST", TRANSCRIPTIONS, head, ("".join(lines) + "--b--\r\n").encode()), route, native)


@pytest.mark.parametrize("native", [("json", "verbose_json"), FORMATS], ids=["of its times", "its own"])
@example(body=rb'"\ud800"')
@example(body=rb'{"text": "\ud800", "segments": [{"text": "\ud800", "start": 0, "end": 1}]}')
@example(body=b'{"text": "x", "segments": [{"text": "x", "start": "inf", "end": "nan"}]}')
@given(body=bodies)
def test_a_transcript_can_be_written_or_is_a_failure_of_the_server(native, body):
    for wanted in FORMATS:
        with failing_as_the_server():
            form(wanted, native).answer(body).body.decode()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_clients_cannot_read_is_not_passed_on(number):
    with pytest.raises(UpstreamError):
        read_answer(b'{"choices": [{"index": %b}]}' % number.encode())


def test_the_largest_counts_are_added_up():
    most = int("9" * 40)
    body = json.dumps({"usage": {"input_tokens": most, "cache_read_input_tokens": most}}).encode()
    assert kept(MESSAGES, read_answer(body)) == {"usage": {"input_tokens": 2 * most}}
