"""Any bytes to the multipart parser: parts or a named refusal; what was written comes back as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.multipart import parse_multipart

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
