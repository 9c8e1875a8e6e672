"""Errors in OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`, for what happens before an engine."""

from __future__ import annotations

import msgspec

from cloister.client.exchange import AnswerNotOpened
from cloister.client.memory_file import MemoryRefused
from cloister.errors import CloisterError, Refused, TooLarge, Unavailable, UsageError
from cloister.hosting.http_exchange import Response

REFUSED = "cloister_refused"  # the chain of checks did not hold
UNAVAILABLE = "cloister_unavailable"  # relay, gateway or engine is down
INVALID = "invalid_request_error"  # OpenAI's own word
_NEVER_AGAIN = (b"x-should-retry", b"false")  # OpenAI's SDKs would ask again after a 502


def answer(status: int, message: str, *, kind: str, code: str) -> Response:
    """An error that the proxy itself found."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    headers = [(b"content-type", b"application/json")]
    if kind != UNAVAILABLE:
        headers.append(_NEVER_AGAIN)
    return Response(status, headers, msgspec.json.encode({"error": error}))


def answer_to(error: CloisterError) -> Response:
    """What `error` is to an OpenAI client; the code names the check that failed."""
    if isinstance(error, Refused):
        return answer(502, f"refused by {error}", kind=REFUSED, code=error.check)
    if isinstance(error, AnswerNotOpened):
        return answer(502, str(error), kind=REFUSED, code="answer_not_opened")
    if isinstance(error, MemoryRefused):
        return answer(502, str(error), kind=REFUSED, code="memory_refused")
    if isinstance(error, TooLarge):
        return answer(413, str(error), kind=INVALID, code="request_too_large")
    if isinstance(error, UsageError):
        return answer(400, str(error), kind=INVALID, code="invalid_request")
    if isinstance(error, Unavailable):
        return answer(503, str(error), kind=UNAVAILABLE, code="unavailable")
    return answer(502, str(error), kind=REFUSED, code="not_proved")
