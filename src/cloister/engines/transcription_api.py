"""The routes of a transcription engine: OpenAI's, and two of its own, which no contract names.

Source: https://platform.openai.com/docs/api-reference/audio and /models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from cloister.engines.api_error import ApiError
from cloister.engines.http_exchange import Handler, Request, Response
from cloister.engines.known_sample import KnownSample
from cloister.engines.models_api import models
from cloister.engines.routes import answering, require_route
from cloister.engines.transcript import Hear, Hearing
from cloister.engines.transcription_answer import answer
from cloister.engines.transcription_form import ENGLISH_ONLY, Abilities, TranscriptionForm, read_form

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
HEALTH = "/health"  # the process answers
SELFTEST = "/selftest"  # it hears what it must
_METHODS = {TRANSCRIPTIONS: "POST", TRANSLATIONS: "POST", HEALTH: "GET", SELFTEST: "GET"}


@dataclass(frozen=True, slots=True)
class Engine:
    """What hears a form's file, the names it answers to, the most usual first, and whether it hears as it must."""

    listen: Callable[[TranscriptionForm], Hearing]
    models: tuple[str, ...]
    passes: Callable[[Handler], bool]
    maximum_file: int | None = None  # bytes, as the operator's section says; the form's own cap holds always
    able: Abilities = ENGLISH_ONLY


def by_sample(hear: Hear, models: tuple[str, ...], sample: KnownSample, maximum_file: int | None = None) -> Engine:
    """An engine that hears files whatever their forms say, and must hear `sample`."""
    return Engine(lambda form: hear(form.file), models, lambda _: sample.heard_by(hear), maximum_file)


def handler(engine: Engine) -> Handler:
    """Answers every route with `engine`; all else in OpenAI's errors."""
    return answering(lambda request: _answer(engine, request))


def _answer(engine: Engine, request: Request) -> Response:
    require_route(request, _METHODS)
    path = request.path
    if path == TRANSCRIPTIONS or (path == TRANSLATIONS and engine.able.translates):
        form = read_form(request, engine.models, engine.able, "transcribe" if path == TRANSCRIPTIONS else "translate")
        if engine.maximum_file is not None and len(form.file) > engine.maximum_file:
            message = f"The operator of this service takes files of at most {engine.maximum_file} bytes."
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, param="file", code="file_too_large")
        return answer(engine.listen(form), form)
    if path == TRANSLATIONS:
        message = "This engine's model hears English only and does not translate; transcribe English speech instead."
        raise ApiError(HTTPStatus.BAD_REQUEST, message, param="model", code="unsupported_model")
    if path == HEALTH:
        return Response.json({"status": "ok"})
    if path == SELFTEST:
        return _selftest(engine)
    return models(engine.models, path)


def _selftest(engine: Engine) -> Response:
    if engine.passes(handler(engine)):
        return Response.json({"status": "ok"})
    return Response.json({"status": "failed"}, status=HTTPStatus.SERVICE_UNAVAILABLE)
