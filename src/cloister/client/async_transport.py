"""The transport of programs with an event loop: the session runs in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from cloister.client.replies import Asking, Reply, async_beginning_of
from cloister.client.session import MAXIMUM_PLAIN
from cloister.client.transport_errors import errors_of
from cloister.client.transport_messages import ask, next_piece, response


class AsyncTransport:
    """To be derived from together with the library's own base class."""

    def __init__(self, http: Any, make: Callable[[], Asking]) -> None:
        self._http = http
        self._make = make
        self._asking: Asking | None = None
        self._stream = type("CloisterStream", (_Arriving, http.AsyncByteStream), {})

    async def handle_async_request(self, request: Any) -> Any:
        """The answer to `request`: proved, or proved when its stream has ended without an error."""
        if self._asking is None:
            self._asking = self._make()
        pieces = aiter(request.stream)
        beginning = await async_beginning_of(pieces, MAXIMUM_PLAIN)
        with errors_of(self._http, request):
            reply = await ask(self._asking, request, beginning, pieces)
        return response(self._http, request, reply, self._stream(self._http, request, reply))

    async def aclose(self) -> None:
        """Close the connections to the relay."""
        asking, self._asking = self._asking, None
        if asking is not None:
            await asking.close()


class _Arriving:
    """A body that arrives."""

    def __init__(self, http: Any, request: Any, reply: Reply) -> None:
        self._http = http
        self._request = request
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        piece = b"first"
        while piece:
            with errors_of(self._http, self._request):
                piece = await next_piece(self._request, self._reply)
            if piece:
                yield piece

    async def aclose(self) -> None:
        """Leave the answer, which is cut off where it has not ended."""
        await self._reply.close()
