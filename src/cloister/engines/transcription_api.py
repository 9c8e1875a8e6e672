"""The routes of a transcription engine: OpenAI's, and two of its own, which no contract names.

Source: https://platform.openai.com/docs/api-reference/audio and /models.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from cloister.engines.api_error import ApiError, no_such_model
from cloister.engines.http_exchange import Handler, Request, Response
from cloister.engines.known_sample import KnownSample
from cloister.engines.transcript import Hear
from cloister.engines.transcription_answer import answer
from cloister.engines.transcription_form import read_form

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
MODELS = "/v1/models"
HEALTH = "/health"  # the process answers
SELFTEST = "/selftest"  # it hears its known sample
_METHODS = {TRANSCRIPTIONS: "POST", TRANSLATIONS: "POST", HEALTH: "GET", SELFTEST: "GET"}
_CREATED = 1_767_225_600  # 2026-01-01: when the names were given, since the API wants a time


@dataclass(frozen=True, slots=True)
class Engine:
    """What hears, the names it answers to, the most usual first, the sample it must hear, the most bytes of a file."""

    hear: Hear
    models: tuple[str, ...]
    sample: KnownSample
    maximum_file: int | None = None  # as the operator's section says; the form's own cap holds always


def handler(engine: Engine) -> Handler:
    """Answers every route with `engine`; all else in OpenAI's errors."""

    def handle(request: Request) -> Response:
        try:
            return _answer(engine, request)
        except ApiError as error:
            return error.response()

    return handle


def _answer(engine: Engine, request: Request) -> Response:
    path = request.path
    if path != MODELS and not path.startswith(f"{MODELS}/") and path not in _METHODS:
        raise ApiError(HTTPStatus.NOT_FOUND, "Invalid URL.", code="unknown_url")
    method = _METHODS.get(path, "GET")
    if request.method != method:
        message = f"Not allowed to use this method here; {path if path in _METHODS else MODELS} takes {method}."
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, message, code="method_not_supported")
    if path == TRANSCRIPTIONS:
        form = read_form(request, engine.models)
        if engine.maximum_file is not None and len(form.file) > engine.maximum_file:
            message = f"The operator of this service takes files of at most {engine.maximum_file} bytes."
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, param="file", code="file_too_large")
        return answer(engine.hear(form.file), form)
    if path == TRANSLATIONS:
        message = "This engine's model hears English only and does not translate; transcribe English speech instead."
        raise ApiError(HTTPStatus.BAD_REQUEST, message, param="model", code="unsupported_model")
    if path == HEALTH:
        return Response.json({"status": "ok"})
    if path == SELFTEST:
        return _selftest(engine)
    return _models(engine, path.removeprefix(MODELS).removeprefix("/"))


def _models(engine: Engine, name: str) -> Response:
    if not name:
        return Response.json({"object": "list", "data": [_model(one) for one in engine.models]})
    if name not in engine.models:
        raise no_such_model()
    return Response.json(_model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "cloister"}


def _selftest(engine: Engine) -> Response:
    if engine.sample.heard_by(engine.hear):
        return Response.json({"status": "ok"})
    return Response.json({"status": "failed"}, status=HTTPStatus.SERVICE_UNAVAILABLE)
