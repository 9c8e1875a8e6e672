"""Between the messages of an HTTP client library and ours: its request as we ask it, our reply as its response."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any

from cloister.client.clear_answer import TooManyRequests
from cloister.client.exchange import UserRequest
from cloister.client.rate_limit import too_many_requests
from cloister.client.replies import Asking, Beginning, Reply


async def ask(asking: Asking, request: Any, beginning: Beginning, pieces: AsyncIterator[bytes]) -> Reply:
    """The reply to the library's `request`, of whose body `pieces` are left; within the time that it was given.

    Raises:
        CloisterError: there is none.
        TimeoutError: nothing came within the time.
    """
    asked = UserRequest(
        request.method, request.url.raw_path.decode("ascii"), request.headers.multi_items(), beginning.data
    )
    async with _limited(request) as limit:
        try:
            return await asking.ask(asked, None if beginning.whole else limit.renewed_by(pieces))
        except TooManyRequests as error:
            said = too_many_requests(error)
            return Reply(said.status, list(said.headers), said.body)


async def next_piece(request: Any, reply: Reply) -> bytes:
    """The next piece of a reply that is not whole, within the time for each; empty at its end.

    Raises:
        CloisterError: the answer broke off, or is not proved.
        TimeoutError: nothing came within the time.
    """
    assert reply.pieces is not None  # else it is whole
    async with asyncio.timeout(_seconds(request)):
        return await anext(reply.pieces, b"")


def response(http: Any, request: Any, reply: Reply, arriving: Any) -> Any:
    """The response of the library `http`; its body is `arriving` where it is not whole."""
    body = arriving if reply.whole is None else http.ByteStream(reply.whole)
    return http.Response(reply.status, headers=reply.headers, request=request, stream=body)


def _seconds(request: Any) -> float | None:
    """The library has a limit for each read; it is the one for everything that is waited for here."""
    seconds: float | None = request.extensions.get("timeout", {}).get("read")
    return seconds


class _Limit:
    """The time in which something has to come, anew for each piece that the program itself was waited for."""

    def __init__(self, seconds: float, timeout: asyncio.Timeout) -> None:
        self._seconds = seconds
        self._timeout = timeout
        self.over = False  # it has come

    async def renewed_by(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """`pieces`, as they come; an answer may come before their end."""
        async for piece in pieces:
            if not self.over and self._seconds < math.inf:
                self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)
            yield piece


@contextlib.asynccontextmanager
async def _limited(request: Any) -> AsyncIterator[_Limit]:
    seconds = _seconds(request)
    async with asyncio.timeout(seconds) as timeout:
        limit = _Limit(math.inf if seconds is None else seconds, timeout)
        try:
            yield limit
        finally:
            limit.over = True
