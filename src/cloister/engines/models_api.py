"""`GET /v1/models` and `/v1/models/{id}`. Source: https://platform.openai.com/docs/api-reference/models."""

from __future__ import annotations

from typing import Final

from cloister.engines.api_error import no_such_model
from cloister.engines.http_exchange import Response

MODELS: Final = "/v1/models"
_CREATED = 1_767_225_600  # 2026-01-01: when the names were given, since the API wants a time


def models(names: tuple[str, ...], path: str) -> Response:
    """All of `names`, or the one that `path` asks for.

    Raises:
        ApiError: 404, there is no such model.
    """
    name = path.removeprefix(MODELS).removeprefix("/")
    if not name:
        return Response.json({"object": "list", "data": [_model(one) for one in names]})
    if name not in names:
        raise no_such_model()
    return Response.json(_model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "cloister"}
