"""An upstream's stream, cut anywhere and of any bytes: the same events, or one error at its end."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from cloister.engines.upstream_dialects import Route
from cloister.engines.upstream_errors import UpstreamError
from cloister.engines.upstream_events import events
from cloister.engines.upstream_request import read_object

ROUTE = Route("POST", "/v1/chat/completions", last=frozenset({"[DONE]"}))
STREAM = b'data: {"id": 1}\n\n: still here\r\n\r\nevent: x.y\ndata: {"id":\ndata: 2}\n\ndata: [DONE]\n\n'
PASSED = [b'data: {"id": 1}\n\n', b": \n\n", b'event: x.y\ndata: {"id": 2}\n\n', b"data: [DONE]\n\n"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_a_stream_is_the_same_wherever_it_is_split(cuts):
    pieces = [STREAM[start:end] for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
    assert list(events(pieces, ROUTE, shape="openai")) == PASSED


def test_a_stream_that_finished_and_lacks_its_last_word_gets_it_and_the_clients_name_of_the_model():
    finished = b'data: {"model": "/model", "choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    found = list(events([finished], ROUTE, shape="openai", model="m"))
    assert [json.loads(found[0][6:])["model"], found[1]] == ["m", b"data: [DONE]\n\n"]


@given(st.integers(0, len(STREAM) - 2))
def test_a_stream_that_is_cut_ends_in_an_error(end):
    found = list(events([STREAM[:end]], ROUTE, shape="openai"))
    assert found[-1].startswith(b"event: error\n")
    assert sum(one.startswith(b"event: error\n") for one in found) == 1


@given(
    st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([b"data: ", b"\n\n", b"{}", b"event: error", b"[DONE]"]))
    )
)
def test_whatever_comes_what_goes_on_is_well_formed(pieces):
    for one in events(pieces, ROUTE, shape="openai"):
        assert one.endswith(b"\n\n")
        lines = one[:-2].split(b"\n")
        data = b"\n".join(line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: "))
        assert all(line.startswith((b"data: ", b"event: ", b": ")) for line in lines)
        if data and data != b"[DONE]":
            assert isinstance(json.loads(data), dict)


@given(st.binary(max_size=80))
def test_any_body_is_an_object_or_refused(data):
    with contextlib.suppress(UpstreamError):
        assert isinstance(read_object(data), dict)
