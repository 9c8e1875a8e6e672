"""Problems as Starlette's responses."""

from __future__ import annotations

from starlette.responses import Response

from cloister.hosting.problem import MEDIA_TYPE, Problem, encode

RETRY_SECONDS = 1  # where nothing better is known


def problem_response(value: Problem, *, retry_seconds: int = RETRY_SECONDS) -> Response:
    """`value` as a response; where it says to come back, with `Retry-After` (RFC 9110 section 10.2.3)."""
    headers = {"content-type": MEDIA_TYPE}
    if value.status in (429, 503):
        headers["retry-after"] = str(retry_seconds)
    return Response(encode(value), value.status, headers)
