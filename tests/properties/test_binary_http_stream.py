"""Binary HTTP that comes in pieces: whatever the whole decoder says of the bytes, the incremental one says too."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.properties.test_binary_http import framings, padding, requests, responses

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import binary_http_stream
from cloister.formats.binary_http import Request, Response, decode_request, decode_response, encode
from cloister.formats.binary_http_stream import RequestDecoder, ResponseDecoder

CAP = 400  # bytes of a body: small, so that it is met
sizes = st.lists(st.integers(1, 200), max_size=30)


def in_pieces(data, sizes):
    """`data` in pieces of these sizes, then the rest; every byte by itself where none are given."""
    at = 0
    for size in sizes or [1] * len(data):
        yield data[at : at + size]
        at += size
    yield data[at:]


def whole(decode, data):
    try:
        return decode(data, body_limit=CAP)
    except (MalformedInput, TooLarge) as error:
        return type(error) if isinstance(error, TooLarge) else MalformedInput


def fed(decoder, data):
    """The content that `data` brings, in copies."""
    return decoder.feed(data)


def viewed(decoder, data):
    """The same, out of a buffer that is wiped afterwards."""
    buffer = bytearray(data)
    found = [bytes(piece) for piece in decoder.feed_view(memoryview(buffer))]
    buffer[:] = b"\xff" * len(buffer)
    return found


def streamed(decoder, data, sizes, feed=fed):
    body = []
    try:
        for piece in in_pieces(data, sizes):
            body += feed(decoder, piece)
        decoder.end()
    except (MalformedInput, TooLarge) as error:
        return type(error) if isinstance(error, TooLarge) else MalformedInput
    head = decoder.head
    if isinstance(head, Request):
        return Request(
            head.method, head.scheme, head.authority, head.path, head.headers, b"".join(body), decoder.trailers
        )
    return Response(head.status, head.headers, b"".join(body), decoder.trailers, head.informational)


@given(requests, framings, padding, sizes)
def test_every_request_comes_back_in_any_pieces(message, framing, zeros, sizes):
    data = encode(message, framing=framing) + zeros
    assert streamed(RequestDecoder(body_limit=CAP), data, sizes) == message


@given(requests, framings, padding, sizes)
def test_every_request_comes_back_out_of_a_buffer_that_is_wiped_after_each_piece(message, framing, zeros, sizes):
    data = encode(message, framing=framing) + zeros
    assert streamed(RequestDecoder(body_limit=CAP), data, sizes, viewed) == message


@given(responses, framings, padding, sizes)
def test_every_response_comes_back_in_any_pieces(message, framing, zeros, sizes):
    data = encode(message, framing=framing) + zeros
    assert streamed(ResponseDecoder(body_limit=CAP), data, sizes) == message


def refusals_agree(one, other):
    """Both give the same message, or both refuse; which cap or rule is met first may differ."""
    refused = (MalformedInput, TooLarge)
    return one == other or (one in refused and other in refused)


@given(st.binary(max_size=200), sizes)
@example(b"", [])
@example(b"\x03\x40\x66", [])
def test_any_bytes_are_judged_as_the_whole_decoder_does(data, sizes):
    for feed in (fed, viewed):
        said = streamed(RequestDecoder(body_limit=CAP), data, sizes, feed)
        assert refusals_agree(said, whole(decode_request, data))
    assert refusals_agree(streamed(ResponseDecoder(body_limit=CAP), data, sizes), whole(decode_response, data))


@given(requests, framings, st.data(), sizes)
def test_one_changed_byte_is_judged_as_the_whole_decoder_does(message, framing, data, sizes):
    encoded = bytearray(encode(message, framing=framing))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    changed = bytes(encoded)
    assert refusals_agree(streamed(RequestDecoder(body_limit=CAP), changed, sizes), whole(decode_request, changed))


@given(requests, framings, st.data(), sizes)
def test_a_message_may_be_cut_exactly_where_the_whole_decoder_lets_it(message, framing, data, sizes):
    encoded = encode(message, framing=framing)
    cut = encoded[: data.draw(st.integers(0, len(encoded)))]
    assert refusals_agree(streamed(RequestDecoder(body_limit=CAP), cut, sizes), whole(decode_request, cut))


@given(responses, st.lists(st.binary(max_size=60), max_size=8), padding)
def test_a_message_that_was_made_in_pieces_is_one(message, bodies, zeros):
    made = [binary_http_stream.start(message), *map(binary_http_stream.content, bodies)]
    decoded = decode_response(b"".join([*made, binary_http_stream.finish(message.trailers), zeros]))
    assert decoded == Response(
        message.status, message.headers, b"".join(bodies), message.trailers, message.informational
    )


def test_trailers_that_would_split_a_message_are_not_made():
    with pytest.raises(MalformedInput):
        binary_http_stream.finish((("a", "b\r\nc: d"),))
