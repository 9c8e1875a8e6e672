"""The routes of a text engine: OpenAI's, and two of its own, which no contract names. Answers are made elsewhere.

Source: https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from cloister.engines.api_error import ApiError, no_such_model
from cloister.engines.chat_api import chat
from cloister.engines.completion_api import complete
from cloister.engines.embeddings_api import embed
from cloister.engines.http_exchange import Handler, Request, Response
from cloister.engines.json_request import read
from cloister.engines.models_api import MODELS, models
from cloister.engines.responses_api import respond
from cloister.engines.responses_request import NOT_IN_RESPONSES, ResponsesRequest
from cloister.engines.routes import answering, require_route
from cloister.engines.text_model import Embedder, TextModel
from cloister.engines.text_request import (
    NOT_IN_CHAT,
    NOT_IN_COMPLETIONS,
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
)

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
HEALTH = "/health"  # the process answers
SELFTEST = "/selftest"  # it answers what it must
ENDPOINTS = (
    ("POST", CHAT),
    ("POST", COMPLETIONS),
    ("POST", RESPONSES),
    ("POST", EMBEDDINGS),
    ("GET", MODELS),
)
_METHODS = {CHAT: "POST", COMPLETIONS: "POST", RESPONSES: "POST", EMBEDDINGS: "POST", HEALTH: "GET", SELFTEST: "GET"}


@dataclass(frozen=True, slots=True)
class Engine:
    """A model that writes or one that embeds, the names it answers to, and whether it answers as it must."""

    names: tuple[str, ...]
    passes: Callable[[Handler], bool]
    writes: TextModel | None = None
    embeds: Embedder | None = None


def handler(engine: Engine) -> Handler:
    """Answers every route with `engine`; all else in OpenAI's errors."""
    return answering(lambda request: _answer(engine, request))


def _answer(engine: Engine, request: Request) -> Response:
    require_route(request, _METHODS)
    path = request.path
    if path in _READ:
        return _READ[path](engine, request)
    if path == HEALTH:
        return Response.json({"status": "ok"})
    if path == SELFTEST:
        return _selftest(engine)
    return models(engine.names, path)


def _selftest(engine: Engine) -> Response:
    if engine.passes(handler(engine)):
        return Response.json({"status": "ok"})
    return Response.json({"status": "failed"}, status=HTTPStatus.SERVICE_UNAVAILABLE)


def _chat(engine: Engine, request: Request) -> Response:
    asked = read(request, ChatRequest, NOT_IN_CHAT)
    return chat(asked, _writer(engine, asked.model))


def _complete(engine: Engine, request: Request) -> Response:
    asked = read(request, CompletionRequest, NOT_IN_COMPLETIONS)
    return complete(asked, _writer(engine, asked.model))


def _respond(engine: Engine, request: Request) -> Response:
    asked = read(request, ResponsesRequest, NOT_IN_RESPONSES)
    return respond(asked, _writer(engine, asked.model))


def _embed(engine: Engine, request: Request) -> Response:
    asked = read(request, EmbeddingsRequest, {})
    if asked.model not in engine.names:
        raise no_such_model()
    if engine.embeds is None:
        message = "This model writes and does not embed; ask /v1/chat/completions or /v1/completions."
        raise ApiError(HTTPStatus.BAD_REQUEST, message, param="model", code="unsupported_model")
    return embed(asked, engine.embeds)


def _writer(engine: Engine, model: str) -> TextModel:
    if model not in engine.names:
        raise no_such_model()
    if engine.writes is None:
        message = "This model embeds and does not write; ask /v1/embeddings."
        raise ApiError(HTTPStatus.BAD_REQUEST, message, param="model", code="unsupported_model")
    return engine.writes


_READ: Mapping[str, Callable[[Engine, Request], Response]] = {
    CHAT: _chat,
    COMPLETIONS: _complete,
    RESPONSES: _respond,
    EMBEDDINGS: _embed,
}
