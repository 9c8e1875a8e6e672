"""What the gateway needs of an engine, and the plainest one: an HTTP server on a unix socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cloister.errors import UsageError
from cloister.formats.binary_http import Request, Response
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_connection import PeerLeft
from cloister.hosting.http_message import Origin

MAXIMUM_ANSWER = 32 * 1024 * 1024  # bytes


class EngineConnection(Protocol):
    """The one way to the engine. An `Unavailable` of status 502 is a crash, 503 is busy, 504 is a timeout."""

    async def ask(self, request: Request, *, seconds: float) -> Response:
        """The engine's answer to `request`, whose headers are already on the allow-list.

        Raises:
            Unavailable: there is none.
        """

    def missing(self) -> Sequence[str]:
        """What the engine lacks before it can serve, in words; empty when it is ready."""


class HttpEngine:
    """An engine behind a unix socket."""

    def __init__(self, socket_path: str, *, connections: int = 16) -> None:
        self._client = HttpClient(Origin.parse(f"unix:{socket_path}"), connections=connections)

    async def ask(self, request: Request, *, seconds: float) -> Response:
        """The engine's answer.

        Raises:
            Unavailable: it broke off, did not answer in time, or answered what is no HTTP or over its cap.
        """
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        method, target = request.method.encode("latin-1"), request.path.encode("latin-1")
        async with self._client.exchange(method, target, headers, request.body, seconds=seconds) as reply:
            try:
                body = await reply.body.read(MAXIMUM_ANSWER)
                fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers)
                return Response(reply.status, fields, body)
            except UsageError as error:
                raise PeerLeft("the engine answered what cannot be passed on") from error

    def missing(self) -> Sequence[str]:
        """Nothing that can be seen without asking."""
        return ()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
