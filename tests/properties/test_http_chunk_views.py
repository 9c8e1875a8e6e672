"""The decoder that copies nothing says what the other one says, of what it takes, split anywhere."""

from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.hosting.http_chunk_views import ChunkedBody
from cloister.hosting.http_chunks import END, ChunkDecoder, encode_chunk

bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


def decoded(pieces):
    body = ChunkedBody()
    found = b"".join(bytes(view) for piece in pieces for view in body.feed(memoryview(piece)))
    return found, body.finished


@given(bodies, st.data())
def test_a_body_comes_back_however_it_is_split(chunks, data):
    coded = b"".join(map(encode_chunk, chunks)) + END
    cuts = sorted(data.draw(st.lists(st.integers(0, len(coded)), max_size=5)))
    pieces = [coded[start:end] for start, end in zip([0, *cuts], [*cuts, len(coded)], strict=True)]
    assert decoded(pieces) == (b"".join(chunks), True)


@given(bodies, st.data())
def test_what_it_takes_of_a_changed_body_the_other_decoder_takes_too(chunks, data):
    coded = bytearray(b"".join(map(encode_chunk, chunks)) + END)
    coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    try:
        found, finished = decoded([bytes(coded)])
    except MalformedInput:
        return
    other = ChunkDecoder()
    assert other.feed(bytes(coded)) == found
    assert other.finished == finished


@given(st.binary(max_size=60))
def test_any_bytes_are_chunks_or_malformed(data):
    try:
        decoded([data])
    except MalformedInput:
        return
