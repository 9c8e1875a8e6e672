"""Any bytes to an engine's connection: nothing, or one whole answer in HTTP/1.1."""

from __future__ import annotations

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.engine_process import answered_by_echo
from tests.speech import form

BODY, CONTENT_TYPE = form(b"RIFF", model="whisper-1", response_format="json", temperature="0.5", stream="false")
HEAD = f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: engine\r\ncontent-type: {CONTENT_TYPE}\r\n"
WHOLE = f"{HEAD}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
CHUNKED = f"{HEAD}transfer-encoding: chunked\r\n\r\n{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"


class Answer:
    """What a strict client finds."""

    def __init__(self, data: bytes) -> None:
        self.body = b""
        self.whole = False
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(data)
        self.status = parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.whole = True


def well_answered(data: bytes) -> None:
    received = answered_by_echo(data)
    if received:
        answer = Answer(received)
        assert answer.whole
        assert answer.status in (200, 400, 404, 405, 413)


def test_the_requests_that_are_damaged_here_are_answered_as_they_are():
    for request in (WHOLE, CHUNKED):
        assert b'"text": "4 bytes"' in Answer(answered_by_echo(request)).body


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_answered_or_hung_up_on(data):
    well_answered(data)


@settings(max_examples=300, deadline=None)
@given(
    request=st.sampled_from([WHOLE, CHUNKED]),
    at=st.floats(0, 1),
    piece=st.binary(max_size=12),
    removed=st.integers(0, 12),
    end=st.floats(0.5, 1),
)
def test_a_damaged_request_is_answered_or_hung_up_on(request, at, piece, removed, end):
    start = int(at * len(request))
    damaged = request[:start] + piece + request[start + removed :]
    well_answered(damaged)
    well_answered(damaged[: int(end * len(damaged))])
