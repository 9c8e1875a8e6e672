"""What every answer of the text API has: ids, usage, events of a stream. What is in them is each API's own."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from http import HTTPStatus

from cloister.engines.api_error import ApiError
from cloister.engines.http_exchange import Response

_EVENTS = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"


def head(kind: str, prefix: str, model: str) -> dict[str, object]:
    """The fields that an answer or an event begins with."""
    return {"id": new_id(prefix), "object": kind, "created": now(), "model": model}


def new_id(prefix: str) -> str:
    """Of an answer, or of a part of one."""
    return f"{prefix}-{secrets.token_hex(12)}"


def now() -> int:
    """Seconds since 1970, since the API says when an answer was made."""
    return int(time.time())  # noqa: TID251


def usage(prompt: int, made: int) -> dict[str, int]:
    """Counts of tokens."""
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def event(data: object, name: str | None = None) -> bytes:
    """One server-sent event."""
    line = b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
    return line if name is None else f"event: {name}\n".encode() + line


def streamed(events: Iterator[bytes]) -> Response:
    """Events as they come. The first is made before the answer begins: until then an error is an answer of its own."""
    first = next(events)
    return Response(HTTPStatus.OK, _EVENTS, _guarded(first, events))


def _guarded(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield first
        yield from rest
    except ApiError as error:
        yield event(error.body())
