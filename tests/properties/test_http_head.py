"""Any bytes are a head, may become one, or are refused; and what is taken, llhttp reads in the same way."""

import httptools
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.hosting.http_head import (
    HeadTooLarge,
    parse_request_head,
    parse_response_head,
    read_request_head,
    read_response_head,
)

TOKEN = "!#$%&'*+-.^_`|~0123456789abcXYZ"
names = st.text(TOKEN, min_size=1, max_size=8).map(str.encode)
values = st.text([chr(c) for c in (9, *range(32, 127), *range(128, 256))], max_size=12).map(
    lambda v: v.encode("latin-1")
)
framing = st.sampled_from(
    [
        b"Content-Length: 3",
        b"content-length:3",
        b"CONTENT-LENGTH: 3",
        b"Content-Type: a/b",
        b"content-type:  a/b; c=d \t",
        b"Content-type: a/b",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"connection:keep-alive , X",
        b"Expect: x",
    ]
)
hosts = st.sampled_from([b"Host: h", b"host:h:80", b"HOST: h", b"Host: h/"])
lines = st.builds(lambda n, v: n + b":" + v, names, values) | framing
methods = st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"])
targets = st.text([chr(c) for c in range(33, 127) if chr(c) != "#"], max_size=12).map(lambda t: b"/" + t.encode())
statuses = st.integers(200, 599).map(lambda n: b"%d" % n)
FRAGMENTS = [b"POST ", b"/ ", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1 200 OK", b"\r\n", b"\r\n\r\n", b"Host: h\r\n", b":"]
FRAGMENTS += [
    b" ",
    b"\n",
    b"\r",
    b"\t",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close",
]
pieces = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=14).map(b"".join)


def head(first, fields):
    return b"\r\n".join([first, *fields, b"", b""])


request_lines = st.builds(lambda m, t: m + b" " + t + b" HTTP/1.1", methods, targets)
status_lines = st.builds(lambda n, r: b"HTTP/1.1 " + n + b" " + r, statuses, values)
plain = st.lists(st.builds(lambda n, v: n + b":" + v, names, values), max_size=3)
few = st.builds(lambda before, one, after: [*before, *one, *after], plain, st.lists(framing, max_size=1), plain)
requests = st.builds(lambda first, fields: head(first, [b"Host: h", *fields]), request_lines, few)
responses = st.builds(head, status_lines, few)
any_requests = st.builds(head, request_lines, st.lists(hosts | lines, max_size=5))
any_responses = st.builds(head, status_lines, st.lists(hosts | lines, max_size=5))


class Judge:
    """What httptools says of one message."""

    def __init__(self, kind):
        self.fields, self.begun, self.alive, self.done, self.url = [], False, False, False, b""
        self.parser = kind(self)

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self):
        self.begun, self.alive = True, self.parser.should_keep_alive()

    def on_message_complete(self):
        self.done = True

    def joined(self):
        joined: dict[bytes, bytes] = {}
        for name, value in self.fields:
            joined[name] = joined[name] + b", " + value if name in joined else value
        return joined


def taken(parse, data):
    """The head, if `parse` takes one."""
    try:
        return parse(data)
    except (MalformedInput, HeadTooLarge):
        return None


def agree(head, judge, data, *, until_close=False):
    judge.parser.feed_data(data[: head.size])
    assert judge.begun
    assert judge.joined() == head.fields
    assert judge.alive == (head.keep_alive and not until_close)
    assert judge.done == (head.length == 0)


@settings(max_examples=200, deadline=None)
@example(b"\n").via("a bare line feed")
@given(pieces)
def test_any_bytes_are_a_head_may_become_one_or_are_refused(data):
    for parse in (parse_request_head, parse_response_head):
        try:
            found = parse(data)
        except (MalformedInput, HeadTooLarge):
            continue
        assert found is None or data[: found.size].endswith(b"\r\n\r\n")
        if found is None:
            assert b"\r\n\r\n" not in data


@settings(max_examples=200, deadline=None)
@given(requests)
def test_llhttp_reads_every_request_that_is_taken_alike(data):
    found = taken(parse_request_head, data)
    assume(found is not None and found.method in (b"GET", b"POST", b"PUT") and b"upgrade" not in found.fields)
    judge = Judge(httptools.HttpRequestParser)
    agree(found, judge, data)
    assert (judge.parser.get_method(), judge.url) == (found.method, found.target)


@settings(max_examples=200, deadline=None)
@given(responses)
def test_llhttp_reads_every_response_that_is_taken_alike(data):
    found = taken(parse_response_head, data)
    assume(found is not None and found.status >= 200 and b"upgrade" not in found.fields)
    judge = Judge(httptools.HttpResponseParser)
    agree(found, judge, data, until_close=found.length is None and not found.chunked)
    assert judge.parser.get_status_code() == found.status


@settings(max_examples=300, deadline=None)
@given(requests)
def test_a_well_formed_request_that_llhttp_takes_is_taken(data):
    judge = Judge(httptools.HttpRequestParser)
    try:
        judge.parser.feed_data(data)
    except httptools.HttpParserError:
        assume(False)
    names = [name for name, _ in judge.fields]
    assume(names.count(b"host") == 1)
    assert parse_request_head(data) is not None


def said(parse, data):
    """The head, `None`, or the refusal."""
    try:
        return parse(data)
    except (MalformedInput, HeadTooLarge) as error:
        return type(error), str(error)


@settings(max_examples=300, deadline=None)
@given(requests | responses | any_requests | any_responses | pieces)
def test_the_short_way_and_the_long_way_say_the_same(data):
    assert said(parse_request_head, data) == said(read_request_head, data)
    assert said(parse_response_head, data) == said(read_response_head, data)
