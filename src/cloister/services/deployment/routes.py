"""The deployment API over HTTP: its state, its revisions, and one way to add to them (docs/formats/http-apis.md)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cloister.formats.node_manifest import MAXIMUM_SENT, parse_sent_revisions
from cloister.hosting.application import application, read_body, require_media_type
from cloister.hosting.health import Check, Health, Metrics
from cloister.hosting.service_limits import ServiceLimits
from cloister.services.deployment.deployment import Deployment
from cloister.services.deployment.history import UnknownRevision

CBOR, COSE = "application/cbor", "application/cose"
STATE, REVISIONS = "/v1/state", "/v1/revisions"
DIGITS = 16  # of the largest number that a revision may have


def routes(deployment: Deployment, *, checks: Sequence[Check] = (), limits: ServiceLimits | None = None) -> Starlette:
    """The application; it is ready where all `checks` pass."""

    async def state(_request: Request) -> Response:
        return Response(msgspec.json.encode(deployment.state()), media_type="application/json")

    async def revision(request: Request) -> Response:
        number = request.path_params["number"]
        if not (number.isascii() and number.isdecimal() and len(number) <= DIGITS):
            raise UnknownRevision("a revision has a number")
        return Response(deployment.history.signed_of(int(number)), media_type=COSE)

    async def take(request: Request) -> Response:
        require_media_type(request, CBOR)
        number = await deployment.take(parse_sent_revisions(await read_body(request, limit=MAXIMUM_SENT)))
        return JSONResponse({"number": number}, 202)

    table = [
        Route(STATE, state, methods=["GET"]),
        Route(f"{REVISIONS}/{{number}}", revision, methods=["GET"]),
        Route(REVISIONS, take, methods=["POST"]),
    ]
    return application(Health("deployment", Metrics("deployment"), missing=list, checks=checks), table, limits=limits)
