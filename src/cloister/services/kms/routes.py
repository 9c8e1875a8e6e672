"""The KMS over HTTP: challenges, releases, bundles (docs/formats/http-apis.md)."""

from __future__ import annotations

import re

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.hosting.application import application, problem_response, read_body, require_media_type
from cloister.hosting.problem import problem
from cloister.services.kms.kms import Kms

MAXIMUM_REQUEST = 65_536  # bytes of a release request
CBOR = "application/cbor"
BUNDLE_TYPE = "application/vnd.cloister.key-bundle+cbor"
BUNDLE_SECONDS = 5  # that a relay may serve a bundle without asking again

_DIGEST = re.compile(r"[0-9a-f]{64}")


def routes(kms: Kms) -> Starlette:
    """The application of `kms`."""

    async def challenges(request: Request) -> Response:
        require_media_type(request, CBOR)
        return Response(kms.challenge(), media_type="application/octet-stream", headers={"cache-control": "no-store"})

    async def releases(request: Request) -> Response:
        require_media_type(request, CBOR)
        reply = await kms.release(await read_body(request, limit=MAXIMUM_REQUEST))
        return Response(reply, media_type=CBOR, headers={"cache-control": "no-store"})

    async def bundles(request: Request) -> Response:
        return _bundle(kms, request)

    table = [
        Route("/challenges", challenges, methods=["POST"]),
        Route("/releases", releases, methods=["POST"]),
        Route("/bundles/{contract}", bundles, methods=["GET"]),
    ]
    return application("kms", table, missing=kms.missing)


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
