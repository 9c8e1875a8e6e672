"""Chunked transfer coding: whatever the cuts, the same content; each way of being ambiguous refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.hosting.http_chunks import END, MAXIMUM_LINE, ChunkDecoder, encode_chunk
from cloister.hosting.http_head import MAXIMUM_HEAD, HeadTooLarge


def decoded(*pieces):
    """The content, and the decoder."""
    decoder = ChunkDecoder()
    return b"".join(decoder.feed(piece) for piece in pieces if not decoder.finished), decoder


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40)), st.binary(max_size=5), st.integers(1, 20))
def test_content_comes_back_however_it_is_cut_and_what_follows_is_kept(contents, rest, step):
    data = b"".join(map(encode_chunk, contents)) + END
    decoder, found = ChunkDecoder(), b""
    for at in range(0, len(data), step):
        last = at + step >= len(data)
        found += decoder.feed(data[at : at + step] + (rest if last else b""))
        assert decoder.finished == last
    assert (found, decoder.rest) == (b"".join(contents), rest)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"3\r\n", b"abc\r\n", b"0\r\n", b"\r\n", b"A: b\r\n", b";x", b"\n"]) | st.binary(max_size=3)
    )
)
def test_any_bytes_are_content_or_are_refused_alike_whole_or_byte_by_byte(pieces):
    data = b"".join(pieces)

    def outcome(parts):
        try:
            found, decoder = decoded(*parts)
        except MalformedInput:
            return None
        return found, decoder.finished

    assert outcome([data]) == outcome([data[at : at + 1] for at in range(len(data))])


def test_extensions_and_trailers_are_dropped():
    found, decoder = decoded(b'3;a="b"\r\nabc\r\n0;x\r\nDigest: x\r\nA:b\r\n\r\nnext')
    assert (found, decoder.finished, decoder.rest) == (b"abc", True, b"next")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"3 ;x\r\nabc\r\n",
        b"3\nabc\r\n",
        b"3;x\nabc\r\n",
        b"3;\0\r\nabc\r\n",
        b"123456789\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"3\r\nabc\rx",
        b"3;" + b"x" * MAXIMUM_LINE,
        b"0\r\nA : b\r\n\r\n",
        b"0\r\nA: b\r\n c\r\n\r\n",
        b"0\r\nA: b\n\n",
        b"0\r\n\n",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(data):
    with pytest.raises(MalformedInput):
        decoded(data)


def test_trailers_are_capped():
    with pytest.raises(HeadTooLarge):
        decoded(b"0\r\nA: ", b"b" * MAXIMUM_HEAD)
