"""The relay's two routes, and its life from start to stop."""

from __future__ import annotations

import asyncio
import time

from cloister.hosting import logs
from cloister.hosting.http_exchange import Limits, Request, Response, problem_response
from cloister.hosting.http_server import serve_http
from cloister.hosting.loopback import LOOPBACK, listen, run_until_stopped
from cloister.hosting.problem import problem
from cloister.services.relay.bundle import BundleCache
from cloister.services.relay.forwarding import Forwarder
from cloister.services.relay.settings import RelaySettings

ROUTES = {"/bundle": ("GET", "HEAD"), "/": ("POST",), "/gateway": ("POST",)}


def run(settings: RelaySettings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        UsageError: a URL is none, or there is no gateway.
        Unavailable: the port is taken.
    """
    logs.configure("relay")

    async def main(stop: asyncio.Event) -> None:
        await serve_relay(settings, stop)

    run_until_stopped(main)


async def serve_relay(settings: RelaySettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    relay = Relay(settings)
    limits = Limits(body_bytes=settings.request_bytes, connections=settings.connections)
    try:
        await serve_http(relay.answer, listen(LOOPBACK, settings.port), stop, limits=limits, ready=settings.ready)
    finally:
        await relay.close()


class Relay:
    """Two routes and no others: not even one for health, since what is not there cannot tell of clients."""

    def __init__(self, settings: RelaySettings) -> None:
        self._bundle = BundleCache(
            settings.bundle_url, seconds=settings.bundle_seconds, limit=settings.bundle_bytes, now=time.monotonic
        )
        self._forwarder = Forwarder(
            settings.gateway_urls, seconds=settings.gateway_seconds, connections=settings.gateway_connections
        )

    async def answer(self, request: Request) -> Response:
        """The answer to one request. Queries are not taken: a link could carry a name in one."""
        methods = ROUTES.get(request.target)
        if methods is None:
            return problem_response(problem(404, "a relay has GET /bundle and POST /gateway"))
        if request.method not in methods:
            refused = problem_response(problem(405, f"{request.target} takes {' and '.join(methods)}"))
            return Response(405, [*refused.headers, (b"allow", ", ".join(methods).encode())], refused.body)
        if request.target == "/bundle":
            return await self._bundle.response()
        return await self._forwarder.forward(request)

    async def close(self) -> None:
        """Close the connections to KMS and gateways."""
        await self._bundle.close()
        await self._forwarder.close()
