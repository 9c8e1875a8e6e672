"""Any bytes are a message or a named refusal; any message comes back."""

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.binary_http import (
    Framing,
    InformationalResponse,
    Request,
    Response,
    decode_request,
    decode_response,
    encode,
)
from cloister.formats.binary_http_view import view_request

tokens = st.text("!#$%&'*+-.^_`|~0123456789abcxyz", min_size=1, max_size=20)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40).map(
    lambda text: text.strip(" ").strip("\t")
)
fields = st.lists(st.tuples(tokens, values), max_size=5).map(tuple)
paths = st.text(st.characters(min_codepoint=0x24, max_codepoint=0x7E), max_size=40).map("/".__add__)
bodies = st.binary(max_size=300)
requests = st.builds(
    Request,
    tokens,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["", "a:1", "[::1]"]),
    paths,
    fields,
    bodies,
    fields,
)
interim = st.builds(InformationalResponse, st.integers(100, 199), fields)
responses = st.builds(Response, st.integers(200, 599), fields, bodies, fields, st.lists(interim, max_size=3).map(tuple))
framings = st.sampled_from(Framing)
padding = st.integers(0, 20).map(bytes)


@given(requests, framings, padding)
def test_every_request_comes_back(message, framing, zeros):
    assert decode_request(encode(message, framing=framing) + zeros) == message


@given(responses, framings, padding)
def test_every_response_comes_back(message, framing, zeros):
    assert decode_response(encode(message, framing=framing) + zeros) == message


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x03\x40\x66")
def test_any_bytes_are_a_message_or_a_named_refusal(data):
    for decode in (decode_request, decode_response):
        try:
            message = decode(data)
        except (MalformedInput, TooLarge):
            continue
        assert decode(encode(message)) == message


@given(requests, framings, st.data())
def test_one_changed_byte_is_a_message_or_a_named_refusal(message, framing, data):
    encoded = bytearray(encode(message, framing=framing))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        changed = decode_request(bytes(encoded))
    except (MalformedInput, TooLarge):
        return
    assert decode_request(encode(changed)) == changed


def said_of(decode, data):
    try:
        return decode(data)
    except (MalformedInput, TooLarge):
        return "refused"


def viewed(data):
    method, scheme, authority, path, headers, pieces = view_request(memoryview(data))
    return Request(method, scheme, authority, path, headers, b"".join(pieces))


def decoded(data):
    return replace(decode_request(data), trailers=())


@given(requests, framings, padding, st.data())
def test_a_view_says_what_the_decoder_says_of_a_request_with_a_byte_changed_or_cut(message, framing, zeros, data):
    encoded = bytearray(encode(message, framing=framing) + zeros)
    if data.draw(st.booleans()):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(encoded[: data.draw(st.integers(0, len(encoded)))])
    for given_bytes in (bytes(encoded), cut):
        assert said_of(viewed, given_bytes) == said_of(decoded, given_bytes)


@given(st.binary(max_size=200))
def test_a_view_says_what_the_decoder_says_of_any_bytes(data):
    assert said_of(viewed, data) == said_of(decoded, data)


@given(st.binary(max_size=12))
@example(b"\x40")  # an integer cut short, which a terminator behind the section would complete
def test_a_view_says_what_the_decoder_says_of_any_section_of_known_length(section):
    data = b"\x00\x04POST\x05https\x01a\x01/" + bytes([len(section)]) + section
    assert said_of(viewed, data) == said_of(decoded, data)
