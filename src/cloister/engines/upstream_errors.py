"""Errors that the adapter of an upstream answers: one for each thing that goes wrong, in the shape of its dialect.

An upstream's own words are never among them: what it says of one request may quote another.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from cloister.engines.http_exchange import Response
from cloister.engines.upstream_dialects import Errors
from cloister.errors import CloisterError

_STATUS: Final = {400: 400, 404: 404, 405: 404, 409: 400, 413: 413, 415: 400, 422: 400, 429: 429, 501: 404, 503: 503}
_SENTENCES: Final = {
    400: "The model's server refused this request: a value in it is not what the model takes.",
    404: "The model's server has nothing of this name.",
    413: "The request is too large for the model's server.",
    429: "The model's server is at work on as many requests as it takes. Try again in a moment.",
    502: "The model's server failed on this request.",
    503: "The model's server cannot take requests now. Try again in a moment.",
}
# Codes of the upstream's own that say something and quote nobody.
_CODES: Final = {
    "context_length_exceeded": "context_length_exceeded",
    "exceed_context_size_error": "context_length_exceeded",  # llama.cpp's
    "rate_limit_exceeded": "rate_limit_exceeded",
}
_ANTHROPIC: Final = {
    400: "invalid_request_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


class UpstreamError(CloisterError):
    """What the client is told; it names a parameter at most, and quotes nothing."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.http_status = status
        self.param = param
        self.code = code


def refused(message: str, *, param: str | None = None, code: str = "invalid_value") -> UpstreamError:
    """The client asked for what is not to be had."""
    return UpstreamError(HTTPStatus.BAD_REQUEST, message, param=param, code=code)


def failed(message: str = "The model's server answered what is no answer.") -> UpstreamError:
    """The upstream is at fault."""
    return UpstreamError(HTTPStatus.BAD_GATEWAY, message, code="upstream_failed")


def slow(seconds: float) -> UpstreamError:
    """It said nothing for too long."""
    message = f"The model's server said nothing for {seconds:g} seconds."
    return UpstreamError(HTTPStatus.GATEWAY_TIMEOUT, message, code="upstream_timeout")


def of_status(status: int, body: bytes) -> UpstreamError:
    """Our own words for an error that the upstream answered."""
    ours = _STATUS.get(status, HTTPStatus.BAD_GATEWAY)
    return UpstreamError(ours, _SENTENCES[ours], code=_known_code(body) or "upstream_refused")


def _known_code(body: bytes) -> str | None:
    try:
        error = json.loads(body)["error"]
        return next((_CODES[one] for one in (error.get("code"), error.get("type")) if one in _CODES), None)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def body_of(error: UpstreamError, shape: Errors) -> dict[str, object]:
    """The error as an object of its dialect."""
    if shape == "kserve":
        return {"error": str(error)}
    if shape == "anthropic":
        return {
            "type": "error",
            "error": {"type": _ANTHROPIC.get(error.http_status, "api_error"), "message": str(error)},
        }
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}


def response_of(error: UpstreamError, shape: Errors) -> Response:
    """The answer that says so."""
    return Response.json(body_of(error, shape), status=error.http_status)
