"""How a relay is, told on a port of this machine's own: the relay's two routes stay all that clients can reach."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cloister.errors import CloisterError
from cloister.hosting.health import Health, Metrics
from cloister.hosting.http_client import HttpClient
from cloister.hosting.http_exchange import Limits, Request, Response, problem_response
from cloister.hosting.http_server import HttpServer
from cloister.hosting.loopback import LOOPBACK, listen
from cloister.hosting.problem import problem
from cloister.services.relay.gateways import Gateway
from cloister.services.relay.refusals import NoGateway
from cloister.services.relay.relay import Relay

ASK_SECONDS = 2.0
MAXIMUM_ANSWER = 65_536
CONNECTIONS = 16


class _Readiness(msgspec.Struct):
    ready: bool
    missing: list[str] = []


class Admin(Collector):
    """Answers the health routes, about all clients together and never about one."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        metrics = Metrics("relay")
        metrics.registry.register(self)
        self._health = Health("relay", metrics, missing=list, checks=[self._require_bundle, self._require_gateway])
        self._server = HttpServer(self.answer, Limits(body_bytes=0, connections=CONNECTIONS))

    async def start(self, port: int) -> None:
        """Serve on the loopback interface.

        Raises:
            UsageError, Unavailable: as `listen`.
        """
        await self._server.start(listen(LOOPBACK, port))

    async def close(self) -> None:
        """Serve no more."""
        await self._server.close(0)

    async def answer(self, request: Request) -> Response:
        """One of the health routes."""
        if request.target not in Health.PATHS:
            return problem_response(problem(404, f"here are {', '.join(Health.PATHS)}; clients have another port"))
        if request.method not in ("GET", "HEAD"):
            return problem_response(problem(405, f"{request.target} takes GET"))
        status, content_type, body = await self._health.asked(request.target)
        return Response(status, [(b"content-type", content_type.encode())], body)

    def collect(self) -> Iterable[Metric]:
        """What the relay counts; Prometheus asks."""
        relay = self._relay
        yield GaugeMetricFamily("cloister_relay_connections", "Clients' connections.", len(relay.connections))
        yield GaugeMetricFamily("cloister_relay_under_way", "Requests under way.", relay.under_way)
        yield CounterMetricFamily("cloister_relay_admitted", "Requests that were passed on.", relay.admitted)
        yield CounterMetricFamily("cloister_relay_turned_away", "Requests over a limit.", relay.turned_away)

    async def _require_bundle(self) -> None:
        if self._relay.bundle.fresh() is None:
            await self._relay.bundle.fetched()

    async def _require_gateway(self) -> None:
        """One gateway that can serve is enough.

        Raises:
            NoGateway: there is none; with what each says.
        """
        said = []
        for gateway in self._relay.gateways:
            lacking = await _lacking(gateway)
            if not lacking:
                return
            said.append(f"{gateway.origin}: {lacking}")
        raise NoGateway(f"no gateway is ready; {'; '.join(said)}")


async def _lacking(gateway: Gateway) -> str:
    """What a gateway says that it lacks; empty when it is ready."""
    context = None if gateway.shown is None else gateway.shown.context
    client = HttpClient(gateway.origin, connections=1, tls=context)
    try:
        async with client.exchange(b"GET", b"/ready", [], seconds=ASK_SECONDS) as reply:
            found = msgspec.json.decode(await reply.body.read(MAXIMUM_ANSWER), type=_Readiness)
    except CloisterError as error:
        return str(error)
    except msgspec.DecodeError:
        return "it does not say whether it is ready"
    finally:
        await client.close()
    return "" if found.ready else ", ".join(found.missing) or "it is not ready"
