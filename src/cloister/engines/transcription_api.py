"""OpenAI's transcription endpoint: a request to its form, a text to its answer. How speech becomes text is not here.

Source: https://platform.openai.com/docs/api-reference/audio/createTranscription; what an engine here cannot honour is
refused, not ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from cloister.engines.api_error import ApiError
from cloister.engines.server import Handler, Request, Response
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.multipart import Part, parse_multipart

PATH = "/v1/audio/transcriptions"
MAXIMUM_FILE = 25 * 1024 * 1024  # bytes
FIELDS = frozenset(
    {"file", "model", "language", "prompt", "response_format", "temperature", "stream", "timestamp_granularities[]"}
)
FORMATS = ("json", "text")
LANGUAGES = frozenset({"", "en", "english", "en-us"})  # some clients send an empty one


@dataclass(frozen=True, slots=True)
class TranscriptionForm:
    """What the engine heeds: the audio file's bytes, the model's name, the answer's format."""

    file: bytes
    model: str
    response_format: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, and how much audio was heard."""

    text: str
    seconds: float


Transcribe = Callable[[bytes], Transcript]


def handler(transcribe: Transcribe, *, models: frozenset[str]) -> Handler:
    """Answers `PATH` with `transcribe` for `models`, and `/health`; all else in OpenAI's errors."""

    def handle(request: Request) -> Response:
        try:
            if request.path == "/health":
                return Response.json({"status": "ok"})
            form = read_form(request, models)
            return _answer(transcribe(form.file), form)
        except ApiError as error:
            return error.response()

    return handle


def read_form(request: Request, models: frozenset[str]) -> TranscriptionForm:
    """The request's form.

    Raises:
        ApiError: another path or method, not a form, a field missing, unknown, twice or out of range, an unknown model.
    """
    if request.path != PATH:
        raise ApiError(HTTPStatus.NOT_FOUND, f"Invalid URL; this engine answers POST {PATH}.")
    if request.method != "POST":
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, f"{PATH} takes POST only.", code="method_not_supported")
    parts = _parts(request)
    file = _required(parts, "file").content
    if len(file) > MAXIMUM_FILE:
        message = f"Maximum content size limit ({MAXIMUM_FILE}) exceeded ({len(file)} bytes read)."
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, param="file")
    model = _text(_required(parts, "model"))
    if model not in models:
        message = f"The model does not exist; this engine has {', '.join(sorted(models))}."
        raise ApiError(HTTPStatus.NOT_FOUND, message, param="model", code="model_not_found")
    _check_language(parts)
    _check_temperature(parts)
    return TranscriptionForm(bytes(file), model, _response_format(parts))


def _answer(transcript: Transcript, form: TranscriptionForm) -> Response:
    if form.response_format == "text":
        return Response(HTTPStatus.OK, "text/plain; charset=utf-8", f"{transcript.text}\n".encode())
    usage = {"type": "duration", "seconds": math.ceil(transcript.seconds)}
    return Response.json({"text": transcript.text, "usage": usage})


def _parts(request: Request) -> dict[str, Part]:
    try:
        listed = parse_multipart(request.body, request.headers.get("content-type", ""))
    except TooLarge as error:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is too large: {error}.") from error
    except MalformedInput as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"Could not parse the multipart form: {error}.") from error
    parts: dict[str, Part] = {}
    for part in listed:
        if part.name not in FIELDS:
            raise ApiError(HTTPStatus.BAD_REQUEST, "Unrecognized request argument supplied.", code="unknown_parameter")
        if part.name in parts and not part.name.endswith("[]"):
            raise _bad(part.name, f"The field {part.name} is there twice.")
        parts[part.name] = part
    return parts


def _required(parts: dict[str, Part], name: str) -> Part:
    if name not in parts:
        raise _bad(name, f"Missing required parameter: '{name}'.", code="missing_required_parameter")
    return parts[name]


def _text(part: Part) -> str:
    try:
        return part.text()
    except MalformedInput as error:
        raise _bad(part.name, f"The field {part.name} is not UTF-8.") from error


def _optional(parts: dict[str, Part], name: str, default: str) -> str:
    return _text(parts[name]).strip() if name in parts else default


def _response_format(parts: dict[str, Part]) -> str:
    chosen = _optional(parts, "response_format", "json")
    if chosen not in FORMATS:
        raise _bad("response_format", f"This engine answers {' and '.join(FORMATS)}.", code="unsupported_value")
    return chosen


def _check_language(parts: dict[str, Part]) -> None:
    if _optional(parts, "language", "").lower() not in LANGUAGES:
        raise _bad("language", "This engine's model hears English only.", code="unsupported_value")


def _check_temperature(parts: dict[str, Part]) -> None:
    try:
        temperature = float(_optional(parts, "temperature", "0") or 0)
    except ValueError as error:
        raise _bad("temperature", "temperature is not a number.") from error
    if not 0 <= temperature <= 1:
        raise _bad("temperature", "temperature is not between 0 and 1.")


def _bad(param: str, message: str, *, code: str | None = None) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code=code)
