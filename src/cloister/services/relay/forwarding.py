"""Passes an encapsulated request to a gateway and its answer back, both as streams, and nothing else of either.

What the gateway gets is built from nothing: the one media type, the length and the bytes. So there is no list of
client headers to remove, and no new header can slip through.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

from cloister.errors import Unavailable, UsageError
from cloister.hosting import problem
from cloister.hosting.http_client import HttpClient, NoConnection, Reply
from cloister.hosting.http_connection import PeerLeft, SlowPeer
from cloister.hosting.http_exchange import Request, Response
from cloister.hosting.http_message import Origin, header

REQUEST_TYPE = b"message/ohttp-req"
RESPONSE_TYPES = (b"message/ohttp-res", problem.MEDIA_TYPE.encode())


class WrongMediaType(UsageError):
    """Not an encapsulated request."""

    status = 415


class GatewayFailed(Unavailable):
    """No gateway took the request, or its answer is none."""

    status = 502


class GatewayTooSlow(Unavailable):
    """The gateway did not answer in its time."""

    status = 504


class Forwarder:
    """Asks the gateways in turn; one that takes no connection is passed over, since nothing was sent to it."""

    def __init__(self, urls: Sequence[str], *, seconds: float, connections: int) -> None:
        if not urls:
            raise UsageError("a relay needs at least one gateway")
        self._gateways = [
            (HttpClient(origin, connections=connections), target) for origin, target in map(Origin.split, urls)
        ]
        self._turns: Iterator[int] = itertools.cycle(range(len(urls)))
        self._seconds = seconds

    async def forward(self, request: Request) -> Response:
        """The gateway's answer to the encapsulated request.

        Raises:
            WrongMediaType, GatewayFailed, GatewayTooSlow: no answer, and whether asking again can help.
        """
        if _media_type(header(request.headers, b"content-type")) != REQUEST_TYPE:
            raise WrongMediaType(f"an encapsulated request is {REQUEST_TYPE.decode()}")
        async with AsyncExitStack() as stack:
            reply = await self._ask(request, stack)
            media_type = _media_type(header(reply.headers, b"content-type"))
            if media_type not in RESPONSE_TYPES:
                raise GatewayFailed("the gateway answered what is no encapsulated response")
            close = stack.pop_all().aclose  # now the server's, when the answer is out
        headers = [(b"content-type", media_type), (b"cache-control", b"no-store")]
        return Response(reply.status, headers, reply.body, reply.body.length, close)

    async def close(self) -> None:
        """Close all connections to gateways."""
        for client, _ in self._gateways:
            await client.close()

    async def _ask(self, request: Request, stack: AsyncExitStack) -> Reply:
        for _ in self._gateways:
            client, target = self._gateways[next(self._turns)]
            exchange = client.exchange(
                b"POST",
                target,
                [(b"content-type", REQUEST_TYPE)],
                request.body,
                seconds=self._seconds,
                length=request.body.length,
            )
            try:
                return await stack.enter_async_context(exchange)
            except NoConnection:
                continue
            except SlowPeer as error:
                raise GatewayTooSlow("the gateway did not answer in time") from error
            except PeerLeft as error:
                raise GatewayFailed("the gateway broke off") from error
        raise GatewayFailed("no gateway takes connections")


def _media_type(content_type: bytes | None) -> bytes:
    return (content_type or b"").partition(b";")[0].strip().lower()
