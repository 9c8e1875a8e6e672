"""What may pass between a client and the engine inside sealed messages: endpoints, headers, and errors of our own.

Everything here is what the client sees after it opened its answer, so errors have the shape that OpenAI's SDKs read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from cloister.errors import CloisterError, UsageError
from cloister.formats import varint
from cloister.formats.binary_http import Fields, Framing, check_fields
from cloister.formats.contract import ANY_ID, Endpoint
from cloister.hosting.http_head import ResponseHead

REQUEST_HEADERS: Final = ("content-type", "accept")
RESPONSE_HEADERS: Final = (b"retry-after", b"x-should-retry")  # beside the content type
RETRY_AFTER_SECONDS: Final = 5
REASONS: Final = {  # of the engine; its own words could quote the request
    429: "Every engine is at work. Try again in a moment.",
    502: "The engine stopped while it worked on this request; it is being restarted.",
    503: "The engine is busy.",
    504: "The engine did not answer in time.",
}

_ID: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._:-]{1,128}")


class NoSuchEndpoint(UsageError):
    """The contract does not name this path."""

    status = 404


class MethodNotAllowed(UsageError):
    """The contract names this path with another method."""

    status = 405


class Endpoints:
    """The requests that the contract lets through; an empty list lets nothing through.

    A path is let through as it is written. One with a segment `{id}` stands for every path with a name in that place:
    letters, digits, `.`, `_`, `:` and `-`, at most 128 of them and not dots alone, so that no path steps elsewhere.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.named = tuple(endpoints)
        self._methods: dict[str, set[str]] = {}
        for endpoint in self.named:
            self._methods.setdefault(endpoint.path, set()).add(endpoint.method)
        self._with_names = [(path.split("/"), methods) for path, methods in self._methods.items() if ANY_ID in path]
        self._as_written = {  # what most requests are for: one look
            (method, path) for path, methods in self._methods.items() for method in methods if ANY_ID not in path
        }

    def require(self, method: str, path: str) -> None:
        """Let the request through; a query makes it another path, which no contract names.

        Raises:
            NoSuchEndpoint, MethodNotAllowed: the contract does not name it.
        """
        if (method, path) in self._as_written:
            return
        methods = self._methods_of(path)
        if method not in methods:
            raise MethodNotAllowed(f"The contract of this service allows {', '.join(sorted(methods))} here.")

    def _methods_of(self, path: str) -> set[str]:
        if methods := self._methods.get(path) if ANY_ID not in path else None:
            return methods
        asked = path.split("/")
        found = {one for named, methods in self._with_names if _stands_for(named, asked) for one in methods}
        if not found:
            raise NoSuchEndpoint("The contract of this service names no such path.")
        return found


def _stands_for(named: Sequence[str], asked: Sequence[str]) -> bool:
    if len(named) != len(asked):
        return False
    return all(
        _ID.fullmatch(there) if segment == ANY_ID else segment == there
        for segment, there in zip(named, asked, strict=True)
    )


class Answer(NamedTuple):
    """The head of what the client gets, and the whole body where it is ours."""

    status: int
    fields: Fields
    body: bytes = b""


def engine_head(method: str, path: str, headers: Fields, length: int | None) -> bytes:
    """The head of a request to the engine: what it needs to read the body, and nothing else of the client's.

    A decoded request holds no line breaks. Without a length the body goes in chunks.
    """
    lines = [f"{method} {path} HTTP/1.1\r\nhost: engine\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers if name in REQUEST_HEADERS]
    lines.append("transfer-encoding: chunked\r\n\r\n" if length is None else f"content-length: {length}\r\n\r\n")
    return "".join(lines).encode("latin-1")


def engine_answer(head: ResponseHead) -> Answer:
    """What of the head of the engine's answer the client gets.

    Raises:
        MalformedInput: it is not fit to be passed on.
    """
    fields: Fields = () if head.content_type is None else (("content-type", head.content_type.decode("latin-1")),)
    if head.status >= 400:
        given = head.fields
        fields += tuple((name.decode(), given[name].decode("latin-1")) for name in RESPONSE_HEADERS if name in given)
    check_fields(fields)
    return Answer(head.status, fields)


def openai_error(status: int, message: str, *, retry: bool = False, code: str | None = None) -> Answer:
    """An error as OpenAI's API has it; its SDKs heed `x-should-retry`."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})
    fields = (("content-type", "application/json"), ("x-should-retry", "true" if retry else "false"))
    return Answer(status, fields, body)


def engine_error(error: CloisterError) -> Answer:
    """What a client is told where no engine answered: nothing of the engine's own words."""
    if error.status == 429:
        kind = {"message": REASONS[429], "type": "requests", "param": None, "code": "rate_limit_exceeded"}
        fields = (
            ("content-type", "application/json"),
            ("x-should-retry", "true"),
            ("retry-after", str(RETRY_AFTER_SECONDS)),
        )
        return Answer(429, fields, msgspec.json.encode({"error": kind}))
    status = error.status if error.status in REASONS else 502
    return openai_error(status, REASONS[status], retry=error.retry)


def answer_head(status: int, fields: Fields, receipt: Fields) -> bytes:
    """The beginning of a Binary HTTP response of known lengths, with its header section."""
    head, lines = _first_lines(status, fields)
    lines += b"".join(map(_line, receipt))
    return head + varint.encode(len(lines)) + lines


@lru_cache(maxsize=64)  # of the engine's and our own heads: there are few, and none is a client's
def _first_lines(status: int, fields: Fields) -> tuple[bytes, bytes]:
    head = varint.encode(Framing.KNOWN_LENGTH + 1) + varint.encode(status)
    return head, b"".join(map(_line, fields))


def _line(field: tuple[str, str]) -> bytes:
    name, value = field[0].encode("latin-1"), field[1].encode("latin-1")
    return b"".join((varint.encode(len(name)), name, varint.encode(len(value)), value))


def field(fields: Fields, name: str) -> str | None:
    """The one value of `name` (lower case), or `None` where it is absent or given more than once."""
    values = [value for key, value in fields if key == name]
    return values[0] if len(values) == 1 else None
