"""The KMS over HTTP: challenges, releases, bundles (docs/formats/http-apis.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.errors import CloisterError
from cloister.formats.handover import MAXIMUM_HANDOVER_REQUEST
from cloister.formats.release import MAXIMUM_SENT
from cloister.hosting.answers import problem_response
from cloister.hosting.application import application, read_body, require_media_type
from cloister.hosting.health import Health, Metrics
from cloister.hosting.problem import problem
from cloister.hosting.service_limits import ServiceLimits
from cloister.services.kms.kms import Kms

MAXIMUM_REQUEST = MAXIMUM_SENT + 1024  # bytes of a release request
CBOR = "application/cbor"
BUNDLE_TYPE = "application/vnd.cloister.key-bundle+cbor"
BUNDLE_SECONDS = 5  # that a relay may serve a bundle without asking again

_DIGEST = re.compile(r"[0-9a-f]{64}")


def routes(
    kms: Kms,
    *,
    limits: ServiceLimits | None = None,
    about: Mapping[str, str] | None = None,
    gives: bool = True,
    unready: Callable[[], list[str]] | None = None,
) -> Starlette:
    """The application of `kms`; `about` is what its `/version` says beside the versions.

    `unready` is what `/ready` says in place of the KMS's own. Where it does not give, keys and assets are to be had at
    its other port, by identity.
    """

    async def challenges(request: Request) -> Response:
        require_media_type(request, CBOR)
        return Response(kms.challenge(), media_type="application/octet-stream", headers={"cache-control": "no-store"})

    async def releases(request: Request) -> Response:
        require_media_type(request, CBOR)
        _require_giving(gives)
        reply = await kms.release(await read_body(request, limit=MAXIMUM_REQUEST))
        return Response(reply, media_type=CBOR, headers={"cache-control": "no-store"})

    async def handovers(request: Request) -> Response:
        require_media_type(request, CBOR)
        reply = await kms.handover(await read_body(request, limit=MAXIMUM_HANDOVER_REQUEST))
        return Response(reply, media_type=CBOR, headers={"cache-control": "no-store"})

    async def assets(request: Request) -> Response:
        require_media_type(request, CBOR)
        _require_giving(gives)
        reply = await kms.release_assets(await read_body(request, limit=MAXIMUM_REQUEST + 2048))
        return Response(reply, media_type=CBOR, headers={"cache-control": "no-store"})

    async def identities(request: Request) -> Response:
        require_media_type(request, CBOR)
        reply = await kms.identity(await read_body(request, limit=MAXIMUM_REQUEST + 3072))
        return Response(reply, media_type=CBOR, headers={"cache-control": "no-store"})

    async def intakes(request: Request) -> Response:
        return await _intake(kms, request)

    async def bundles(request: Request) -> Response:
        return _bundle(kms, request)

    table = [
        Route("/challenges", challenges, methods=["POST"]),
        Route("/releases", releases, methods=["POST"]),
        Route("/assets", assets, methods=["POST"]),
        Route("/identities", identities, methods=["POST"]),
        Route("/intakes/{contract}", intakes, methods=["GET"]),
        Route("/handovers", handovers, methods=["POST"]),
        Route("/bundles/{contract}", bundles, methods=["GET"]),
    ]
    return application(Health("kms", Metrics("kms"), missing=unready or kms.unready, about=about), table, limits=limits)


class AskedWithoutIdentity(CloisterError):
    """A node asks for what this KMS gives over mutual TLS only."""

    exit_code = 3
    status = 403


def _require_giving(gives: bool) -> None:
    if not gives:
        raise AskedWithoutIdentity("keys and assets are given by identity: ask at the port of this KMS's [mutual_tls]")


async def _intake(kms: Kms, request: Request) -> Response:
    name = request.path_params["contract"]
    if not _DIGEST.fullmatch(name):
        return problem_response(problem(404, "an intake key is named by 64 lower-case hexadecimal digits"))
    if missing := kms.missing():
        return problem_response(problem(503, f"the KMS is not serving: {missing[0]}", retry=True))
    intake = await kms.intake_for_owners(bytes.fromhex(name))
    if intake is None:
        return problem_response(problem(404, "no contract of this name is served that has anything to keep"))
    return Response(intake, media_type=CBOR, headers={"cache-control": "no-store"})


def _bundle(kms: Kms, request: Request) -> Response:
    """The bundle's bytes, or 304 where the caller has them."""
    name = request.path_params["contract"]
    if not _DIGEST.fullmatch(name):
        return problem_response(problem(404, "a bundle is named by 64 lower-case hexadecimal digits"))
    published = kms.bundle(bytes.fromhex(name))
    if published is None:
        missing = kms.missing()
        if missing:
            return problem_response(problem(503, f"the KMS is not serving: {missing[0]}", retry=True))
        return problem_response(problem(404, "no contract of this name has a key in use"))
    tag = f'"{published.tag}"'
    headers = {"etag": tag, "cache-control": f"public, max-age={BUNDLE_SECONDS}"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(published.data, media_type=BUNDLE_TYPE, headers=headers)
