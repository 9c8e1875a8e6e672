"""The witness over HTTP: one route, as C2SP tlog-witness specifies it."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.formats.add_checkpoint import MAXIMUM_REQUEST, parse_add_checkpoint
from cloister.formats.checkpoint import format_line
from cloister.hosting.application import application, read_body
from cloister.hosting.health import Check, Health, Metrics
from cloister.hosting.service_limits import ServiceLimits
from cloister.ledger.witness_rules import SizeConflict
from cloister.services.witness.witness import Witnessing

SIZE_TYPE = "text/x.tlog.size"


def build(witnessing: Witnessing, *, checks: Sequence[Check] = (), limits: ServiceLimits | None = None) -> Starlette:
    """The application; it is ready where all `checks` pass."""

    async def add_checkpoint(request: Request) -> Response:
        asked = parse_add_checkpoint(await read_body(request, limit=MAXIMUM_REQUEST))
        try:
            lines = await witnessing.add_checkpoint(asked)
        except SizeConflict as conflict:
            return Response(f"{conflict.size}\n", 409, {"content-type": SIZE_TYPE})
        return Response("".join(map(format_line, lines)), media_type="text/plain; charset=utf-8")

    health = Health("witness", Metrics("witness"), missing=list, checks=checks)
    return application(health, [Route("/add-checkpoint", add_checkpoint, methods=["POST"])], limits=limits)
