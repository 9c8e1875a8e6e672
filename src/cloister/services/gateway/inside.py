"""What may pass between a client and the engine inside sealed messages: endpoints, headers, and errors of our own.

Everything here is what the client sees after it opened its answer, so errors have the shape that OpenAI's SDKs read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from cloister.errors import UsageError
from cloister.formats.binary_http import Fields, Request, Response
from cloister.formats.contract import ANY_ID, Endpoint

REQUEST_HEADERS = frozenset({"accept", "content-type"})
RESPONSE_HEADERS = frozenset({"content-type", "retry-after"})
REASONS = {  # of the engine; its own words could quote the request
    502: "The engine stopped while it worked on this request; it is being restarted.",
    503: "The engine is busy.",
    504: "The engine did not answer in time.",
}


_ID = re.compile(r"(?!\.+$)[A-Za-z0-9._:-]{1,128}")


class NoSuchEndpoint(UsageError):
    """The contract does not name this path."""

    status = 404


class MethodNotAllowed(UsageError):
    """The contract names this path with another method."""

    status = 405


class Endpoints:
    """The requests that the contract lets through; an empty list lets nothing through.

    A path is let through as it is written. One that ends in `/{id}` stands for every path with a name in that place:
    letters, digits, `.`, `_`, `:` and `-`, at most 128 of them and not dots alone, so that no path steps elsewhere.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._methods: dict[str, set[str]] = {}
        for endpoint in endpoints:
            self._methods.setdefault(endpoint.path, set()).add(endpoint.method)

    def require(self, request: Request) -> None:
        """Let `request` through; a query makes it another path, which no contract names.

        Raises:
            NoSuchEndpoint, MethodNotAllowed: the contract does not name it.
        """
        methods = self._methods_of(request.path)
        if request.method not in methods:
            raise MethodNotAllowed(f"The contract of this service allows {', '.join(sorted(methods))} here.")

    def _methods_of(self, path: str) -> set[str]:
        above, _, name = path.rpartition("/")
        as_written = self._methods.get(path) if name != ANY_ID else None
        with_any_id = self._methods.get(f"{above}/{ANY_ID}") if _ID.fullmatch(name) else None
        if methods := as_written or with_any_id:
            return methods
        raise NoSuchEndpoint("The contract of this service names no such path.")


def for_engine(request: Request) -> Request:
    """What of `request` the engine gets: method, path, body, and the headers it needs to read them."""
    headers = _only(request.headers, REQUEST_HEADERS)
    return Request(request.method, request.scheme, request.authority, request.path, headers, request.body)


def for_client(response: Response) -> Response:
    """What of the engine's answer the client gets."""
    return Response(response.status, _only(response.headers, RESPONSE_HEADERS), response.body)


def openai_error(status: int, message: str, *, retry: bool = False) -> Response:
    """An error as OpenAI's API has it; its SDKs heed `x-should-retry`."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})
    headers = (("content-type", "application/json"), ("x-should-retry", "true" if retry else "false"))
    return Response(status, headers, body)


def field(fields: Fields, name: str) -> str | None:
    """The one value of `name` (lower case), or `None` where it is absent or given more than once."""
    values = [value for key, value in fields if key == name]
    return values[0] if len(values) == 1 else None


def _only(fields: Fields, names: frozenset[str]) -> Fields:
    return tuple((name, value) for name, value in fields if name in names)
