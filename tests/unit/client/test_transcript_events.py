import contextlib
import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloister.client.transcript_events import MAXIMUM_EVENT, TranscriptEvents
from cloister.errors import MalformedInput, TooLarge

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines may be busy


def event(**fields):
    return f"data: {json.dumps(fields)}\n\n".encode()


STREAM = (
    event(type="transcript.text.delta", delta="The weather")
    + event(type="transcript.text.delta", delta=" is café-cold")
    + event(type="transcript.text.done", text="The weather is café-cold", usage={"type": "duration", "seconds": 3})
)


def fed(*pieces):
    events = TranscriptEvents()
    return events, [delta for piece in pieces for delta in events.feed(piece)]


@UNHURRIED
@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_however_the_stream_is_cut_the_words_are_the_same(cuts, end_of_line):
    stream = STREAM.replace(b"\n", end_of_line) + b":"  # a comment's beginning, so that a last CR is known for one
    edges = [0, *sorted(cuts), len(stream)]
    events, deltas = fed(*(stream[a:b] for a, b in itertools.pairwise(edges)))
    assert deltas == ["The weather", " is café-cold"]
    assert events.text == "The weather is café-cold"


def test_comments_other_fields_and_events_of_other_types_are_passed_over():
    events, deltas = fed(
        b": keep\n\nid: 7\nretry: 3\nevent: x\n\n", event(type="transcript.text.segment", id=1), STREAM
    )
    assert (deltas, events.text) == (["The weather", " is café-cold"], "The weather is café-cold")


def test_how_much_of_the_audio_was_heard_is_told_where_the_service_says_it():
    events, deltas = fed(b": heard 9.65 of 12.90 s\n" + event(type="transcript.text.delta", delta="x"))
    assert (events.heard, events.duration, deltas) == (9.65, 12.9, ["x"])


def test_data_on_several_lines_is_one_event():
    _, deltas = fed(b'data: {"type": "transcript.text.delta",\ndata: "delta": "x"}\n\n')
    assert deltas == ["x"]


def test_a_stream_that_ends_in_an_error_says_it_and_has_no_text():
    events, deltas = fed(
        STREAM[: STREAM.index(b"data:", 5)], b"event: error\n", event(error={"message": "out of memory", "code": None})
    )
    assert (deltas, events.trouble, events.text) == (["The weather"], "out of memory", None)


def test_a_stream_without_its_last_event_has_no_text():
    events, _ = fed(STREAM[: STREAM.rindex(b"data:")])
    assert events.text is None


@pytest.mark.parametrize("piece", [b"x" * (MAXIMUM_EVENT + 1), b"data: " + b"x" * 600_000 + b"\n"])
def test_an_event_over_its_cap_is_refused(piece):
    with pytest.raises(TooLarge):
        fed(piece, piece)


@UNHURRIED
@given(st.lists(st.one_of(st.binary(), st.sampled_from([b"data: ", b"\n\n", b"[DONE]", b'{"type": 3}', b"\r"]))))
def test_any_bytes_are_events_or_malformed(pieces):
    with contextlib.suppress(MalformedInput, TooLarge):
        fed(*pieces)
