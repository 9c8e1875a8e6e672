"""The verifier over HTTP: challenges, tokens, keys, discovery (docs/formats/http-apis.md)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cloister.formats.attestation_request import MAXIMUM_REQUEST
from cloister.formats.attestation_result import MEDIA_TYPE, PROFILE
from cloister.formats.jwk import KEY_SET_TYPE, encode_key_set
from cloister.hosting.application import application, read_body, require_media_type
from cloister.hosting.health import Health
from cloister.hosting.service_limits import ServiceLimits
from cloister.services.verifier.verifier import Verifier

CBOR = "application/cbor"
KEY_SET_SECONDS = 300  # that a relying party may use the key set without asking again

CHALLENGES, ATTESTATION = "/v1/challenges", "/v1/attestation"
KEYS, DISCOVERY = "/.well-known/jwks.json", "/.well-known/openid-configuration"


def routes(
    verifier: Verifier, *, limits: ServiceLimits | None = None, about: Mapping[str, str] | None = None
) -> Starlette:
    """The application of `verifier`; `about` is what its `/version` says beside the versions."""

    async def challenges(request: Request) -> Response:
        require_media_type(request, CBOR)
        return Response(
            verifier.challenge(), media_type="application/octet-stream", headers={"cache-control": "no-store"}
        )

    async def attestation(request: Request) -> Response:
        require_media_type(request, CBOR)
        asker = "nobody" if request.client is None else network_of(request.client.host)
        token = await verifier.attest(await read_body(request, limit=MAXIMUM_REQUEST), asker=asker)
        return Response(token, headers={"content-type": MEDIA_TYPE, "cache-control": "no-store"})

    async def keys(_request: Request) -> Response:
        headers = {"content-type": KEY_SET_TYPE, "cache-control": f"public, max-age={KEY_SET_SECONDS}"}
        return Response(encode_key_set(verifier.key_set()), headers=headers)

    async def discovery(_request: Request) -> Response:
        return JSONResponse(_discovery(verifier), headers={"cache-control": f"public, max-age={KEY_SET_SECONDS}"})

    table = [
        Route(CHALLENGES, challenges, methods=["POST"]),
        Route(ATTESTATION, attestation, methods=["POST"]),
        Route(KEYS, keys, methods=["GET"]),
        Route(DISCOVERY, discovery, methods=["GET"]),
    ]
    return application(Health("verifier", verifier.metrics, missing=list, about=about), table, limits=limits)


def _discovery(verifier: Verifier) -> dict[str, object]:
    """OpenID Connect Discovery's names where it has them, so that JWT libraries find the keys by the issuer alone."""
    return {
        "issuer": verifier.issuer,
        "jwks_uri": verifier.issuer + KEYS,
        "id_token_signing_alg_values_supported": ["ES384"],
        "response_types_supported": ["none"],  # nobody logs in here
        "subject_types_supported": ["public"],
        "challenge_endpoint": verifier.issuer + CHALLENGES,
        "attestation_endpoint": verifier.issuer + ATTESTATION,
        "eat_profiles_supported": [PROFILE],
        "appraisal_policies": {name: policy.id for name, policy in sorted(verifier.policies.items())},
    }


def network_of(address: str) -> str:
    """Whose questions are counted together: an address, an IPv6 one by its /64, since who has one has them all."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
