"""`POST /v1/embeddings` over any embedder. Source: https://platform.openai.com/docs/api-reference/embeddings."""

from __future__ import annotations

import base64
import struct
from typing import Any

from cloister.engines.chat_messages import too_long
from cloister.engines.http_exchange import Response
from cloister.engines.json_request import bad, unsupported
from cloister.engines.text_model import Embedder
from cloister.engines.text_request import MAXIMUM_INPUTS, EmbeddingsRequest

MAXIMUM_TOKENS = 300_000  # of all inputs together, as OpenAI's


def embed(request: EmbeddingsRequest, model: Embedder) -> Response:
    """The answer to `request`.

    Raises:
        ApiError: an input that is none, empty, or too long.
    """
    if request.dimensions is not None and request.dimensions != model.dimensions:
        raise unsupported("dimensions", f"this model's vectors have {model.dimensions} numbers, no more and no fewer")
    inputs = _inputs(request.input, model)
    total = sum(map(len, inputs))
    if total > MAXIMUM_TOKENS:
        raise bad("input", f"All inputs together have at most {MAXIMUM_TOKENS} tokens.", code="max_tokens_per_request")
    encode = _base64 if request.encoding_format == "base64" else list
    data = [
        {"object": "embedding", "index": at, "embedding": encode(vector)}
        for at, vector in enumerate(model.embeddings(inputs))
    ]
    told = {"prompt_tokens": total, "total_tokens": total}
    return Response.json({"object": "list", "data": data, "model": request.model, "usage": told})


def _inputs(given: str | list[Any], model: Embedder) -> list[list[int]]:
    many = [given] if isinstance(given, str) or all(type(token) is int for token in given) else given
    if len(many) > MAXIMUM_INPUTS:
        raise bad("input", f"There are at most {MAXIMUM_INPUTS} inputs in a request.")
    return [_input(one, model) for one in many]


def _input(one: Any, model: Embedder) -> list[int]:
    if not one:
        raise bad("input", "An input is not empty.")
    if isinstance(one, str):
        found = model.tokens(one)
    elif isinstance(one, list) and all(type(token) is int for token in one):
        found = model.checked(one, "input")
    else:
        raise bad("input", "An input is a text, or a list of tokens.", code="invalid_type")
    if len(found) > model.context:
        raise too_long(model.context, len(found), "input")
    return found


def _base64(vector: list[float]) -> str:
    """32-bit floats, little-endian, as OpenAI's."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
