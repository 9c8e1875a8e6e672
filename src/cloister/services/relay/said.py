"""What a relay says: heads of answers, from nothing but their status, media type and framing."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cloister.errors import CloisterError
from cloister.hosting.http_head import ResponseHead
from cloister.hosting.http_message import status_line
from cloister.hosting.problem import MEDIA_TYPE, encode, problem_of
from cloister.services.relay.client_limits import retry_after
from cloister.services.relay.refusals import Busy, WrongMethod

CLOSE: Final = b"connection: close\r\n"


def sealed_head(status: int, kind: bytes, dated: bytes, length: int | None, more: bytes = b"") -> bytes:
    """The head of an answer that is passed on; `dated` and `more` are whole lines."""
    start = _first_lines(status, kind)
    if length is None:
        return b"%b%b%btransfer-encoding: chunked\r\n\r\n" % (start, dated, more)
    return b"%b%b%bcontent-length: %d\r\n\r\n" % (start, dated, more, length)


@lru_cache(maxsize=64)
def _first_lines(status: int, kind: bytes) -> bytes:
    return b"%bcontent-type: %b\r\ncache-control: no-store\r\n" % (status_line(status), kind)


def retry_line(head: ResponseHead) -> bytes:
    """The Retry-After of a gateway that is busy, if it says seconds."""
    if head.status not in (429, 503):
        return b""
    seconds = head.fields.get(b"retry-after", b"")
    return b"retry-after: %b\r\n" % seconds if seconds.isdigit() and len(seconds) <= 5 else b""


def problem_answer(error: CloisterError, dated: bytes, more: bytes = b"") -> bytes:
    """The whole answer that `error` is, problem details."""
    if isinstance(error, Busy):
        more += b"retry-after: %d\r\n" % retry_after(error.seconds)
    elif isinstance(error, WrongMethod):
        more += b"allow: %b\r\n" % error.allowed.encode()
    body = encode(problem_of(error))
    return sealed_head(error.status, MEDIA_TYPE.encode(), dated, len(body), more) + body
