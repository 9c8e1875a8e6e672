"""Binary HTTP against RFC 9292's examples, and each rule of the profile alone."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import varint
from cloister.formats.binary_http import (
    MAXIMUM_FIELDS,
    MAXIMUM_INFORMATIONAL,
    MAXIMUM_PIECES,
    MAXIMUM_SECTION,
    Framing,
    InformationalResponse,
    Request,
    Response,
    decode_request,
    decode_response,
    encode,
    encode_head,
)
from cloister.formats.binary_http_view import view_request

EXAMPLES = {
    name: (bytes.fromhex("".join(example["hex"])), example["padding"])
    for name, example in json.loads((Path(__file__).parents[1] / "vectors" / "rfc9292.json").read_text()).items()
}
HELLO = Request(
    method="GET",
    scheme="https",
    authority="",
    path="/hello.txt",
    headers=(
        ("user-agent", "curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"),
        ("host", "www.example.com"),
        ("accept-language", "en, mi"),
    ),
)
HELLO_WORLD = Response(
    status=200,
    headers=(
        ("date", "Mon, 27 Jul 2009 12:28:53 GMT"),
        ("server", "Apache"),
        ("last-modified", "Wed, 22 Jul 2009 19:15:56 GMT"),
        ("etag", '"34aa387-d-1568eb00"'),
        ("accept-ranges", "bytes"),
        ("content-length", "51"),
        ("vary", "Accept-Encoding"),
        ("content-type", "text/plain"),
    ),
    body=b"Hello World! My content includes a trailing CRLF.\r\n",
    informational=(
        InformationalResponse(102, (("running", '"sleep 15"'),)),
        InformationalResponse(
            103,
            (("link", "</style.css>; rel=preload; as=style"), ("link", "</script.js>; rel=preload; as=script")),
        ),
    ),
)
CHUNKED = Response(status=200, body=b"This content contains CRLF.\r\n", trailers=(("trailer", "text"),))
WHOLE = [
    ("request known length", HELLO, Framing.KNOWN_LENGTH, decode_request),
    ("request indeterminate length", HELLO, Framing.INDETERMINATE_LENGTH, decode_request),
    ("response with informational responses", HELLO_WORLD, Framing.INDETERMINATE_LENGTH, decode_response),
    ("response with a trailer", CHUNKED, Framing.KNOWN_LENGTH, decode_response),
]
POST = Request("POST", "https", "example.com", "/a", (("a", "b"),), b"body", (("t", "u"),))


@pytest.mark.parametrize(("name", "message", "framing", "decode"), WHOLE, ids=[case[0] for case in WHOLE])
def test_the_rfcs_examples_are_read_and_written(name, message, framing, decode):
    data, padding = EXAMPLES[name]
    assert decode(data) == message
    assert encode(message, framing=framing) + bytes(padding) == data


@pytest.mark.parametrize(("name", "removable"), [("request known length", 2), ("request indeterminate length", 12)])
def test_the_rfcs_requests_may_be_truncated_as_far_as_it_says(name, removable):
    data, _ = EXAMPLES[name]
    for removed in range(removable + 1):
        assert decode_request(data[: len(data) - removed]) == HELLO
    with pytest.raises(MalformedInput):
        decode_request(data[: len(data) - removable - 2])


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize("padding", [0, 1, 1000])
def test_every_message_comes_back_in_both_framings_padded_or_not(framing, padding):
    for request in (HELLO, POST, replace(POST, body=b"")):
        assert decode_request(encode(request, framing=framing) + bytes(padding)) == request
    for response in (HELLO_WORLD, CHUNKED):
        assert decode_response(encode(response, framing=framing) + bytes(padding)) == response


def test_a_message_may_end_before_any_empty_section():
    for framing in (0, 2):
        assert decode_request(bytes([framing]) + b"\x03GET\x05https\x00\x01/") == Request("GET", "https", "", "/")
        assert decode_response(bytes([framing + 1]) + b"\x40\xc8") == Response(200)


@pytest.mark.parametrize("framing", Framing)
def test_a_message_cut_anywhere_else_is_malformed(framing):
    data = encode(POST, framing=framing)
    whole = []
    for size in range(len(data)):
        with contextlib.suppress(MalformedInput):
            whole.append(decode_request(data[:size]))
    assert whole == [  # before the headers, before the content, before the trailers
        replace(POST, headers=(), body=b"", trailers=()),
        replace(POST, body=b"", trailers=()),
        replace(POST, trailers=()),
    ]


def test_content_in_many_chunks_is_joined():
    head = b"\x02\x03GET\x05https\x00\x01/\x00"
    assert decode_request(head + b"\x01a\x02bc\x40\x01d\x00").body == b"abcd"


def test_padding_that_is_not_zero_is_malformed():
    with pytest.raises(MalformedInput, match="padding"):
        decode_request(encode(POST) + b"\0\0\1\0")


@pytest.mark.parametrize("indicator", [1, 3, 4, 63])
def test_a_request_has_a_requests_framing_indicator(indicator):
    with pytest.raises(MalformedInput, match="framing indicator"):
        decode_request(bytes([indicator]) + encode(POST)[1:])


def test_a_response_has_a_responses_framing_indicator():
    with pytest.raises(MalformedInput, match="framing indicator"):
        decode_response(encode(POST))


@pytest.mark.parametrize("status", [0, 99, 600, 2**61])
@pytest.mark.parametrize("framing", [1, 3])
def test_a_status_out_of_range_is_malformed(status, framing):
    with pytest.raises(MalformedInput, match="status"):
        decode_response(bytes([framing]) + varint.encode(status) + b"\0\0\0")


def test_informational_responses_alone_are_malformed():
    with pytest.raises(MalformedInput):
        decode_response(b"\x01\x40\x66\x00")
    with pytest.raises(MalformedInput):
        decode_response(b"\x01\x40\x66")


@pytest.mark.parametrize("status", [99, 200])
def test_an_informational_response_has_an_informational_status(status):
    with pytest.raises(MalformedInput):
        InformationalResponse(status)


WRONG = [
    ("method", ["", "GE T", "GET\r\n", "G\x00", "GÉT", "GE:T"]),
    ("scheme", ["", "HTTPS", "ht tp", "1http", "http:"]),
    ("authority", ["a b", "user@host", "host/path", "host\r\n", "hôst", "host?", "host#"]),
    ("path", ["", "a", "*", "/a b", "/a\r\nx: y", "/é", "/a#b", "/\x00", "/\x7f", "http://a/"]),
]


@pytest.mark.parametrize(("part", "text"), [(part, text) for part, texts in WRONG for text in texts])
def test_control_data_that_could_split_a_message_is_malformed(part, text):
    with pytest.raises(MalformedInput, match=part):
        replace(POST, **{part: text})


def test_the_asterisk_is_a_path_for_options_only():
    assert decode_request(encode(replace(POST, method="OPTIONS", path="*"))).path == "*"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "v"),
        ("Upper", "v"),
        (":path", "/"),
        ("na me", "v"),
        ("na:me", "v"),
        ("nämé", "v"),
        ("name\x00", "v"),
        ("name", "\x00"),
        ("name", "a\r\nb: c"),
        ("name", "a\nb"),
        ("name", "a\x7f"),
        ("name", " v"),
        ("name", "v\t"),
        ("name", "Ā"),
    ],
)
def test_fields_that_http2_calls_malformed_are_malformed(name, value):
    fields = ((name, value),)
    for make in (
        lambda: replace(POST, headers=fields),
        lambda: replace(POST, trailers=fields),
        lambda: Response(200, headers=fields),
        lambda: Response(200, trailers=fields),
        lambda: InformationalResponse(102, fields),
    ):
        with pytest.raises(MalformedInput, match=r"field name|value of"):
            make()


def test_field_values_keep_every_other_byte():
    value = "".join(map(chr, [*range(0x21, 0x7F), 0x20, 0x09, *range(0x80, 0x100)]))
    message = replace(POST, headers=(("name", value), ("empty", ""), ("name", "again")))
    assert decode_request(encode(message)) == message


HEAD = b"\x03GET\x05https\x00\x01/"


@pytest.mark.parametrize(
    "section",
    [
        b"\x03\x01ab",
        b"\x02\x01a",
        b"\x04\x00\x01a\x00",
        b"\x03\x01a\x01",
        b"\x01\x00",
        b"\x04\x01a\x00\x00",
        b"\x05\x01a\x00",
    ],
    ids=[
        "value over the end",
        "no value",
        "no name",
        "no value's bytes",
        "only a zero",
        "zero at the end",
        "cut short",
    ],
)
def test_a_field_section_of_known_length_holds_whole_lines_only(section):
    with pytest.raises(MalformedInput):
        decode_request(b"\x00" + HEAD + section)


@pytest.mark.parametrize("read", [decode_request, lambda data: view_request(memoryview(data))])
def test_a_body_in_more_pieces_than_the_cap_is_refused_however_small_they_are(read):
    head = encode_head(Request("POST", "https", "a", "/"), framing=Framing.INDETERMINATE_LENGTH)
    read(head + b"\x01x" * MAXIMUM_PIECES + b"\x00\x00")
    with pytest.raises(TooLarge, match="more than 16384 pieces"):
        read(head + b"\x01x" * (MAXIMUM_PIECES + 1) + b"\x00\x00")


def test_a_body_over_its_cap_is_refused_before_it_is_read():
    for framing in Framing:
        data = encode(replace(POST, body=bytes(100)), framing=framing)
        assert decode_request(data, body_limit=100).body == bytes(100)
        with pytest.raises(TooLarge, match="body"):
            decode_request(data, body_limit=99)
    with pytest.raises(TooLarge, match="body"):
        decode_request(b"\x00" + HEAD + b"\x00" + varint.encode(2**61))
    with pytest.raises(TooLarge, match="body"):
        decode_response(b"\x03\x40\xc8\x00\x01a\x01b", body_limit=1)


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize(
    ("count", "size", "fits"),
    [
        (MAXIMUM_FIELDS, 0, True),
        (MAXIMUM_FIELDS + 1, 0, False),
        (1, MAXIMUM_SECTION - 6, True),
        (1, MAXIMUM_SECTION, False),
        (1, MAXIMUM_SECTION + 1, False),
    ],
)
def test_sections_up_to_their_caps_pass_and_over_them_are_refused(framing, count, size, fits):
    request = replace(POST, headers=(("a", "v" * size),) * count)
    if fits:
        assert decode_request(encode(request, framing=framing)) == request
    else:
        with pytest.raises(TooLarge):
            decode_request(encode(request, framing=framing))


def test_control_data_over_its_cap_is_refused():
    with pytest.raises(TooLarge):
        decode_request(encode(replace(POST, path="/" * (MAXIMUM_SECTION + 1))))


def test_more_informational_responses_than_the_cap_are_refused():
    interim = (InformationalResponse(102),) * MAXIMUM_INFORMATIONAL
    assert decode_response(encode(Response(200, informational=interim))).informational == interim
    with pytest.raises(TooLarge):
        decode_response(encode(Response(200, informational=interim + interim[:1])))
