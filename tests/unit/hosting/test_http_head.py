"""Heads of HTTP/1.1 messages: what is taken, and each way of being ambiguous refused by name."""

import re
from re._constants import (  # type: ignore[import-not-found]  # no stubs: the module is Python's own
    ANY,
    IN,
    LITERAL,
    NOT_LITERAL,
    POSSESSIVE_REPEAT,
)
from re._parser import SubPattern, parse  # type: ignore[import-not-found]  # likewise

import pytest

from cloister.engines import upstream_json
from cloister.errors import MalformedInput
from cloister.hosting import http_chunk_views, http_chunks, http_head
from cloister.hosting.http_head import (
    MAXIMUM_HEAD,
    MAXIMUM_HEADERS,
    HeadTooLarge,
    WrongVersion,
    parse_request_head,
    parse_response_head,
)

REQUEST = b"POST /gateway HTTP/1.1\r\nHost: h:80\r\nContent-Type: message/ohttp-req\r\nContent-Length: 6\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: message/ohttp-res\r\nContent-Length: 6\r\n\r\n"


def whole(parse, data):
    return parse(data)


def request_with(line):
    return parse_request_head(b"POST / HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n")


def response_with(line, status=b"200 OK"):
    return parse_response_head(b"HTTP/1.1 " + status + b"\r\n" + line + b"\r\n\r\n")


def test_a_request_is_its_method_target_fields_and_framing_and_the_body_follows():
    head = parse_request_head(REQUEST + b"sealed")
    assert head == (
        b"POST",
        b"/gateway",
        b"Host: h:80\r\nContent-Type: message/ohttp-req\r\nContent-Length: 6\r\n",
        b"message/ohttp-req",
        6,
        True,
        len(REQUEST),
    )
    assert whole(parse_request_head, REQUEST).fields == {
        b"host": b"h:80",
        b"content-type": b"message/ohttp-req",
        b"content-length": b"6",
    }


def test_a_response_is_its_status_fields_and_framing_and_the_body_follows():
    head = parse_response_head(RESPONSE + b"sealed")
    assert head == (
        200,
        b"Content-Type: message/ohttp-res\r\nContent-Length: 6\r\n",
        b"message/ohttp-res",
        6,
        False,
        True,
        len(RESPONSE),
    )
    assert whole(parse_response_head, RESPONSE).fields == {
        b"content-type": b"message/ohttp-res",
        b"content-length": b"6",
    }


@pytest.mark.parametrize(("whole", "parse"), [(REQUEST, parse_request_head), (RESPONSE, parse_response_head)])
def test_every_beginning_of_a_head_may_still_become_one(whole, parse):
    for size in range(len(whole)):
        assert parse(whole[:size]) is None
    assert parse(whole).size == len(whole)


def test_the_body_is_none_without_a_length_and_in_chunks_where_it_says_so():
    assert request_with(b"Accept: */*").length == 0
    assert request_with(b"Transfer-Encoding: Chunked").length is None
    assert response_with(b"Transfer-Encoding: chunked")[3:5] == (None, True)
    assert response_with(b"Server: x")[3:5] == (None, False)


@pytest.mark.parametrize("status", [b"100 Continue", b"204 No Content", b"304 Not Modified"])
def test_some_statuses_never_have_a_body(status):
    assert response_with(b"Content-Length: 6", status).length == 0


@pytest.mark.parametrize(
    ("line", "alive"),
    [
        (b"Connection: close", False),
        (b"Connection: x , Close", False),
        (b"Connection: keep-alive", True),
        (b"A: b", True),
    ],
)
def test_a_connection_lives_on_unless_it_says_close(line, alive):
    assert request_with(line).keep_alive is alive
    assert response_with(line).keep_alive is alive


def test_repeats_of_a_field_are_one_list_in_their_order():
    assert request_with(b"Accept: a\r\nX: y\r\naccept:\tb \t").fields[b"accept"] == b"a, b"


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 6\r\nContent-Length: 6",
        b"Content-Length: 6\r\nTransfer-Encoding: chunked",
        b"Content-Length: 6, 6",
        b"Content-Length: +6",
        b"Content-Length: -6",
        b"Content-Length: 0x6",
        b"Content-Length: 6 6",
        b"Content-Length:",
        b"Content-Length: \xb2",
        b"Content-Length: 1000000000000000",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:",
        b"Content-Length : 6",
        b" Content-Length: 6",
        b"A: b\r\n folded",
        b"A: b\r\n\tfolded",
        b"A: b\nContent-Length: 6",
        b"A: b\rContent-Length: 6",
        b"A: b\0",
        b"A: b\x7f",
        b"A\x80: b",
        b"A(): b",
        b": b",
        b"no colon",
        b"nocolon",
        b"Connection:\r\nnocolon",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(line):
    with pytest.raises(MalformedInput):
        request_with(line)
    with pytest.raises(MalformedInput):
        response_with(line)


@pytest.mark.parametrize(
    "first",
    [
        b"POST  / HTTP/1.1",
        b"POST / HTTP/1.1 ",
        b"POST /  HTTP/1.1",
        b"POST\t/ HTTP/1.1",
        b" POST / HTTP/1.1",
        b"\r\nPOST / HTTP/1.1",
        b"POST http://h/ HTTP/1.1",
        b"CONNECT /h HTTP/1.1",
        b"CONNECT h:80 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"POST /#f HTTP/1.1",
        b"POST /\xc3\xa9 HTTP/1.1",
        b"POST /\x7f HTTP/1.1",
        b"PO(ST / HTTP/1.1",
        b"POST / HTTP/1.1x",
        b"POST / http/1.1",
        b"POST /",
        b"HTTP/1.1 200 OK",
    ],
)
def test_a_request_line_is_a_method_a_path_and_the_version_with_one_space_between(first):
    with pytest.raises(MalformedInput) as caught:
        parse_request_head(first + b"\r\nHost: h\r\n\r\n")
    assert not isinstance(caught.value, WrongVersion)


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 200", b"HTTP/1.1 2000 OK", b"HTTP/1.1 600 X", b"HTTP/1.1 20 OK", b"HTTP/1.1  200 OK"]
)
def test_a_status_line_is_the_version_and_three_digits(first):
    with pytest.raises(MalformedInput):
        parse_response_head(first + b"\r\n\r\n")


@pytest.mark.parametrize("version", [b"0.9", b"1.0", b"1.2", b"2.0"])
def test_another_version_is_named(version):
    with pytest.raises(WrongVersion):
        parse_request_head(b"GET / HTTP/" + version + b"\r\nHost: h\r\n\r\n")
    with pytest.raises(WrongVersion):
        parse_response_head(b"HTTP/" + version + b" 200 OK\r\n\r\n")


@pytest.mark.parametrize(
    "lines", [b"", b"Host: a\r\nHost: a\r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a@b\r\n"]
)
def test_a_request_names_its_host_once_and_well(lines):
    with pytest.raises(MalformedInput, match=r"[Hh]ost header"):
        parse_request_head(b"GET / HTTP/1.1\r\n" + lines + b"\r\n")


def test_a_bare_line_feed_is_refused_before_the_head_is_whole():
    with pytest.raises(MalformedInput, match="bare line feed"):
        parse_request_head(b"GET / HTTP/1.1\nHost: h")


def test_a_head_is_capped_in_bytes_and_in_fields():
    start = b"GET / HTTP/1.1\r\nHost: h\r\nA: "
    longest = start + b"a" * (MAXIMUM_HEAD - len(start) - 4) + b"\r\n\r\n"
    found = parse_request_head(longest + b"body")
    assert found is not None
    assert found.size == MAXIMUM_HEAD
    for over in (longest.replace(b"\r\n\r\n", b"a\r\n\r\n"), b"G" * MAXIMUM_HEAD):
        with pytest.raises(HeadTooLarge):
            parse_request_head(over)
    assert len(request_with(b"\r\n".join(b"a%d: b" % n for n in range(MAXIMUM_HEADERS - 1))).fields) == MAXIMUM_HEADERS
    with pytest.raises(HeadTooLarge):
        request_with(b"\r\n".join(b"a: b" for n in range(MAXIMUM_HEADERS)))


def repeated_groups(parsed):
    """Groups that an expression repeats possessively, by their operations."""
    for operation, argument in parsed:
        if operation is POSSESSIVE_REPEAT:
            (body,) = argument[2:]
            if len(body) != 1 or body[0][0] not in (IN, LITERAL, NOT_LITERAL, ANY):
                yield body
        for part in argument if isinstance(argument, tuple | list) else ():
            for inner in part if isinstance(part, list) else (part,):
                if isinstance(inner, SubPattern):
                    yield from repeated_groups(inner)


@pytest.mark.parametrize(
    "module", [http_head, http_chunks, http_chunk_views, upstream_json], ids=lambda module: module.__name__
)
def test_no_group_is_repeated_possessively(module):
    """Before 3.11.5 Python goes on in the wrong place after one: a field without a value took the place of the end."""
    expressions = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
    assert expressions
    for expression in expressions:
        assert not list(repeated_groups(parse(expression.pattern)))


def test_the_walk_finds_a_group_that_is_repeated_possessively():
    for expression in (rb"(?:ab)*+", rb"((?:a:b\r\n){0,5}+)c", rb"a(?:(?: b+)*+|c)", rb"(?!x)(?i:(?:ab)++)"):
        assert list(repeated_groups(parse(expression)))
    assert not list(repeated_groups(parse(rb"[ab]*+c++\d{1,3}+(?:x)*")))


@pytest.mark.parametrize("line", [b"Accept: x", b"Host2: x", b"Content-Other: x", b"T: x", b"Date: x"])
def test_a_head_that_ends_wrongly_costs_no_more_than_one_that_does_not(line):
    """At most one way leads through each line: with two, 100 lines would be tried in 2^100 ways."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + (line + b"\r\n") * 90 + b"no colon\r\n\r\n"
    with pytest.raises(MalformedInput):
        parse_request_head(head)
