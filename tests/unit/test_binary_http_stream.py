"""What the incremental decoder gives, and when; that it judges as the whole one does is a property."""

import time

import pytest

from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats import binary_http_stream
from cloister.formats.binary_http import (
    MAXIMUM_FIELDS,
    MAXIMUM_PIECES,
    Framing,
    InformationalResponse,
    Request,
    Response,
    encode,
)
from cloister.formats.binary_http_stream import SMALL_PIECE, RequestDecoder, ResponseDecoder

HEAD = Request("POST", "https", "example.com", "/a", (("a", "b"),))
POST = Request("POST", "https", "example.com", "/a", (("a", "b"),), b"body", (("t", "u"),))
INDETERMINATE = Framing.INDETERMINATE_LENGTH


@pytest.mark.parametrize("framing", Framing)
def test_the_head_is_given_as_soon_as_it_is_complete_and_content_as_it_comes(framing):
    data = encode(POST, framing=framing)
    head = data.index(b"\x01b") + 2 + (framing is INDETERMINATE)
    decoder = RequestDecoder()
    assert decoder.feed(data[: head - 1]) == []
    assert decoder.head is None
    assert decoder.feed(data[head - 1 : head]) == []
    assert decoder.head == HEAD
    assert (decoder.feed(data[head : head + 3]), decoder.feed(data[head + 3 : head + 5])) == ([b"bo"], [b"dy"])
    assert (decoder.feed(data[head + 5 :]), decoder.ended) == ([], False)
    decoder.end()
    assert (decoder.ended, decoder.trailers) == (True, (("t", "u"),))


def test_a_response_is_given_after_its_interim_ones():
    interim = InformationalResponse(103, (("link", "x"),))
    message = Response(200, (("c", "d"),), b"body", informational=(interim,))
    decoder = ResponseDecoder()
    assert decoder.feed(encode(message)) == [b"body"]
    assert decoder.head == Response(200, (("c", "d"),), informational=(interim,))


def test_content_is_not_copied_where_it_comes_alone():
    decoder = ResponseDecoder()
    decoder.feed(encode(Response(200), framing=Framing.KNOWN_LENGTH)[:-2] + b"\x80\x01\x00\x00")
    piece = bytes(65_536)
    assert decoder.feed(piece)[0] is piece


def test_no_content_over_the_cap_is_taken():
    decoder = ResponseDecoder(body_limit=10)
    decoder.feed(binary_http_stream.start(Response(200)) + binary_http_stream.content(bytes(8)))
    with pytest.raises(TooLarge):
        decoder.feed(b"\x03")


def test_a_body_in_more_small_pieces_than_the_cap_is_refused():
    decoder = RequestDecoder()
    decoder.feed(binary_http_stream.start(HEAD))
    for _ in range(MAXIMUM_PIECES // 1024):
        decoder.feed(binary_http_stream.content(b"x") * 1024)
    with pytest.raises(TooLarge, match="pieces"):
        decoder.feed(binary_http_stream.content(b"x") * 1024)


def test_a_long_body_may_come_in_as_many_larger_pieces_as_it_likes():
    decoder = RequestDecoder()
    decoder.feed(binary_http_stream.start(HEAD))
    piece = binary_http_stream.content(bytes(SMALL_PIECE)) * 1024
    assert sum(len(decoder.feed(piece)) for _ in range(3 * MAXIMUM_PIECES // 1024)) == 3 * MAXIMUM_PIECES


def test_no_more_fields_than_the_cap_are_gathered():
    decoder = RequestDecoder()
    decoder.feed(encode(Request("GET", "https", "", "/"), framing=INDETERMINATE)[:-3])
    decoder.feed(b"\x01a\x01b" * MAXIMUM_FIELDS)
    with pytest.raises(TooLarge):
        decoder.feed(b"\x01a\x01b")


def test_a_refused_message_stays_refused():
    decoder = RequestDecoder()
    with pytest.raises(MalformedInput):
        decoder.feed(b"\x09")
    for again in (lambda: decoder.feed(b"\x00"), decoder.end):
        with pytest.raises(UsageError):
            again()
    assert not decoder.ended


def test_after_its_end_a_message_takes_nothing():
    decoder = RequestDecoder()
    decoder.feed(encode(POST))
    decoder.end()
    for again in (lambda: decoder.feed(b"\x00"), decoder.end):
        with pytest.raises(UsageError):
            again()


def test_padding_may_come_in_pieces_and_is_zero():
    decoder = RequestDecoder()
    decoder.feed(encode(POST))
    assert [decoder.feed(bytes(70_000)) for _ in range(3)] == [[], [], []]
    with pytest.raises(MalformedInput):
        decoder.feed(b"\x00\x01")


@pytest.mark.parametrize("framing", Framing)
def test_a_head_that_comes_byte_by_byte_costs_no_more_than_its_length(framing):
    """A client could otherwise keep a gateway busy with chunks of one byte: reading again from the start is minutes."""
    large = Request("POST", "https", "", "/", tuple(("n" * 100, "v" * 150) for _ in range(MAXIMUM_FIELDS)))
    data = encode(large, framing=framing)
    decoder = RequestDecoder()
    started = time.process_time()
    for at in range(len(data)):
        decoder.feed(data[at : at + 1])
    assert decoder.head == large
    assert time.process_time() - started < 10
