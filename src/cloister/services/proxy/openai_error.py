"""Errors in OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`, for what happens before an engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from cloister.client.answer_stream import AnswerCut
from cloister.client.clear_answer import TooManyRequests
from cloister.client.exchange import AnswerNotOpened
from cloister.client.memory_file import MemoryRefused
from cloister.client.upload import NotSentAgain
from cloister.errors import CloisterError, Refused, TooLarge, Unavailable, UsageError
from cloister.hosting.http_exchange import Response
from cloister.hosting.http_server_connection import SlowRequest

REFUSED = "cloister_refused"  # the chain of checks did not hold
UNAVAILABLE = "cloister_unavailable"  # relay, gateway or engine is down
INVALID = "invalid_request_error"  # OpenAI's own word
_NEVER_AGAIN = (b"x-should-retry", b"false")  # OpenAI's SDKs would ask again after a 502


class Told(NamedTuple):
    """An error as a client of OpenAI's is told of it."""

    status: int
    message: str
    kind: str
    code: str


def answer(status: int, message: str, *, kind: str, code: str) -> Response:
    """An error that the proxy itself found."""
    headers = [(b"content-type", b"application/json")]
    if kind != UNAVAILABLE:
        headers.append(_NEVER_AGAIN)
    return Response(status, headers, _body(Told(status, message, kind, code)))


def answer_to(error: CloisterError) -> Response:
    """What `error` is to an OpenAI client; the code names the check that failed."""
    told = _told(error)
    response = answer(told.status, told.message, kind=told.kind, code=told.code)
    if isinstance(error, TooManyRequests):
        return replace(response, headers=[*response.headers, (b"retry-after", b"%d" % error.retry_seconds)])
    return response


def event_of(error: CloisterError) -> bytes:
    """What `error` is to a client that reads a stream of events; OpenAI's SDKs raise it."""
    return b"event: error\ndata: " + _body(_told(error)) + b"\n\n"


def _told(error: CloisterError) -> Told:
    if isinstance(error, Refused):
        passes = error.retry  # by itself, once the service is whole again
        return Told(503 if passes else 502, f"refused by {error}", UNAVAILABLE if passes else REFUSED, error.check)
    for kind, status, shown, code in _CODES:
        if isinstance(error, kind):
            return Told(status, str(error), shown, code)
    return Told(502, str(error), REFUSED, "not_proved")


def _body(told: Told) -> bytes:
    error = {"message": told.message, "type": told.kind, "param": None, "code": told.code}
    return msgspec.json.encode({"error": error})


_CODES: Final[tuple[tuple[type[CloisterError], int, str, str], ...]] = (  # the first that an error is of
    (AnswerNotOpened, 502, REFUSED, "answer_not_opened"),
    (MemoryRefused, 502, REFUSED, "memory_refused"),
    (TooLarge, 413, INVALID, "request_too_large"),
    (SlowRequest, 408, UNAVAILABLE, "request_timeout"),
    (UsageError, 400, INVALID, "invalid_request"),
    (AnswerCut, 502, UNAVAILABLE, "answer_cut"),
    (NotSentAgain, 503, UNAVAILABLE, "send_again"),
    (TooManyRequests, 429, UNAVAILABLE, "rate_limit_exceeded"),
    (Unavailable, 503, UNAVAILABLE, "unavailable"),
)
