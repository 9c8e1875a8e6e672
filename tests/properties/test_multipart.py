"""Any bytes to the multipart parser: parts or a named refusal; what was written comes back as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.multipart import parse_multipart
from cloister.provenance.answer import RunningSummary, summarise

PIECES = st.sampled_from(
    [b"--b", b"\r\n", b"--", b":", b"Content-Disposition: form-data; name=", b'"a"', b"; filename=", b"\\", b'"', b" "]
)


@given(
    body=st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=30).map(b"".join),
    content_type=st.one_of(st.just("multipart/form-data; boundary=b"), st.text()),
)
def test_any_bytes_are_parts_or_a_named_refusal(body, content_type):
    try:
        parts = parse_multipart(body, content_type)
    except (MalformedInput, TooLarge):
        return
    assert all(bytes(part.content) in body for part in parts)


@given(contents=st.lists(st.binary().filter(lambda content: b"\r\n--boundary" not in content), max_size=5))
def test_every_content_comes_back_as_it_was_sent(contents):
    head = b'--boundary\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = b"".join(head + content + b"\r\n" for content in contents) + b"--boundary--\r\n"
    parts = parse_multipart(body, "multipart/form-data; boundary=boundary")
    assert [bytes(part.content) for part in parts] == contents


def summarised(make):
    try:
        return make()
    except (MalformedInput, TooLarge):
        return "no form"


@given(
    body=st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=30).map(b"".join),
    sizes=st.lists(st.integers(1, 20), max_size=40),
    form=st.booleans(),
)
def test_a_body_that_comes_in_pieces_is_summarised_as_the_whole_one(body, sizes, form):
    content_type = "multipart/form-data; boundary=b" if form else "audio/wav"

    def in_pieces():
        running = RunningSummary("POST", "/v1/a", content_type)
        at = 0
        for size in sizes or [1] * len(body):
            running.update(body[at : at + size])
            at += size
        running.update(body[at:])
        return running.summary()

    assert summarised(in_pieces) == summarised(lambda: summarise("POST", "/v1/a", content_type, body))


@given(
    contents=st.lists(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=9).map(b"".join), max_size=4),
    sizes=st.lists(st.integers(1, 60), max_size=40),
)
def test_a_form_that_comes_in_pieces_is_summarised_as_the_whole_one(contents, sizes):
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = b"".join(head + content + b"\r\n" for content in contents) + b"--b--\r\n"
    content_type = "multipart/form-data; boundary=b"

    def in_pieces():
        running = RunningSummary("POST", "/v1/a", content_type)
        at = 0
        for size in sizes or [1] * len(body):
            running.update(body[at : at + size])
            at += size
        running.update(body[at:])
        return running.summary()

    assert summarised(in_pieces) == summarised(lambda: summarise("POST", "/v1/a", content_type, body))
