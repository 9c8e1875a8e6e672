"""What a handler of the lean HTTP/1.1 server takes and gives, and the limits around it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field

from cloister.errors import CloisterError
from cloister.hosting.http_body import Body
from cloister.hosting.http_message import Headers
from cloister.hosting.loopback import GRACE_SECONDS
from cloister.hosting.problem import MEDIA_TYPE, Problem, encode


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps and times of one server."""

    body_bytes: int = 32 * 1024 * 1024  # of a request
    connections: int = 1024
    idle_seconds: float = 75  # between requests
    head_seconds: float = 10  # from a head's first byte to its last
    stall_seconds: float = 20  # without a byte of the body
    body_seconds: float = 600  # for the whole body
    write_seconds: float = 20  # in which a slow reader takes what waits for it
    grace_seconds: float = GRACE_SECONDS  # for requests in flight at the end


@dataclass(frozen=True, slots=True)
class Request:
    """One request; its target is a path that may carry a query."""

    method: str
    target: str
    headers: Headers
    body: Body


class CutAnswer(CloisterError):
    """Raised by a streamed body that cannot go on, so that no one takes what it gave for the whole.

    What it gave is delivered; then the connection is closed without the body's end.
    """


async def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Response:
    """One response; framing, date and connection headers are the server's."""

    status: int
    headers: Headers
    body: bytes | AsyncIterable[bytes] = b""
    streamed_length: int | None = None  # bytes of a streamed body, where known; else it goes in chunks
    close: Callable[[], Awaitable[None]] = field(default=_nothing)  # called when the answer is sent or given up

    @property
    def length(self) -> int | None:
        """Bytes of the body, where known."""
        return len(self.body) if isinstance(self.body, bytes) else self.streamed_length


Handler = Callable[[Request], Awaitable[Response]]


def problem_response(value: Problem) -> Response:
    """`value` as a response."""
    return Response(value.status, [(b"content-type", MEDIA_TYPE.encode())], encode(value))
