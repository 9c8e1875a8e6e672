"""The form of a transcription request, as OpenAI's API has it. What an engine cannot honour is refused, not ignored.

Source: https://platform.openai.com/docs/api-reference/audio/createTranscription.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from cloister.engines.api_error import ApiError, no_such_model
from cloister.engines.http_exchange import Request
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.multipart import Part, parse_multipart

MAXIMUM_FILE = 25 * 1024 * 1024  # bytes
MAXIMUM_PROMPT = 16_384  # characters; Whisper models read the last 224 tokens
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
STREAMED_FORMATS = ("json", "text")  # events carry no times
GRANULARITIES = ("word", "segment")
_REPEATED = frozenset({"timestamp_granularities[]", "include[]"})
_READ = frozenset(
    {"file", "model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy"}
)
# What the API has for other models, with why it is not had here.
_OTHERS = {
    "include": "this engine does not give log probabilities here",
    "chunking_strategy": "this engine finds speech with settings of its own: only 'auto' is taken",
    "known_speaker_names": "this engine does not tell speakers apart",
    "known_speaker_references": "this engine does not tell speakers apart",
    "keywords": "this engine takes no keywords",
    "languages": "this engine takes one language: use language",
}


Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an engine's model can: languages by every name that clients give them, each with its code; translation."""

    languages: Mapping[str, str]
    translates: bool = False


ENGLISH_ONLY = Abilities({"en": "en", "english": "en", "en-us": "en"})


@dataclass(frozen=True, slots=True)
class TranscriptionForm:
    """A request that can be honoured. `file` is a view into the request's body."""

    file: memoryview
    model: str
    response_format: str
    granularities: frozenset[str]
    temperature: float
    stream: bool
    task: Task = "transcribe"
    language: str | None = None  # its code; None: to be found out
    prompt: str = ""
    chunked: bool = False  # find speech first, and hear that alone


def read_form(
    request: Request, models: Collection[str], able: Abilities = ENGLISH_ONLY, task: Task = "transcribe"
) -> TranscriptionForm:
    """The form in a request's body.

    Raises:
        ApiError: not a form; a field missing, unknown, twice, out of range, or not to be honoured; an unknown model.
    """
    fields = _fields(request)
    file = fields.required("file").content
    if len(file) > MAXIMUM_FILE:
        message = f"Maximum content size limit ({MAXIMUM_FILE}) exceeded ({len(file)} bytes read)."
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, param="file")
    model = text_of(fields.required("model"))
    if model not in models:
        raise no_such_model()
    response_format = fields.choice("response_format", FORMATS, "json")
    return TranscriptionForm(
        file,
        model,
        response_format,
        _granularities(fields, response_format),
        _temperature(fields),
        _stream(fields, response_format),
        task,
        _language(fields, able),
        _prompt(fields),
        _chunked(fields),
    )


def _language(fields: _Fields, able: Abilities) -> str | None:
    """The code of the language that is asked for; some clients send an empty one."""
    said = fields.optional("language", "").lower()
    if said and said not in able.languages:
        known = set(able.languages.values())
        heard = (
            "English only" if known == {"en"} else f"{len(known)} languages, each by its ISO 639 code or English name"
        )
        raise _bad_value("language", f"this engine's model hears {heard}")
    return able.languages[said] if said else None


def _prompt(fields: _Fields) -> str:
    """It has to be text, though a fixed vocabulary has no use for it."""
    prompt = fields.optional("prompt", "")
    if len(prompt) > MAXIMUM_PROMPT:
        raise _bad("prompt", f"The prompt has more than {MAXIMUM_PROMPT} characters.", code="invalid_value")
    return prompt


def _chunked(fields: _Fields) -> bool:
    chunking = fields.optional("chunking_strategy", "")
    if chunking not in ("", "auto"):
        raise _unsupported("chunking_strategy", _OTHERS["chunking_strategy"])
    return bool(chunking)


class _Fields:
    """The parts of a form, each known and there once."""

    def __init__(self) -> None:
        self._once: dict[str, Part] = {}
        self.repeated: dict[str, list[Part]] = {name: [] for name in _REPEATED}

    def add(self, part: Part) -> None:
        if part.name in self.repeated:
            self.repeated[part.name].append(part)
            return
        if part.name not in _READ:
            base = part.name.partition("[")[0]
            if base in _OTHERS:
                raise _unsupported(base, _OTHERS[base])
            raise ApiError(HTTPStatus.BAD_REQUEST, "Unrecognized request argument supplied.", code="unknown_parameter")
        if part.name in self._once:
            raise _bad(part.name, f"The field {part.name} is there twice.", code="invalid_value")
        self._once[part.name] = part

    def required(self, name: str) -> Part:
        if name not in self._once:
            raise _bad(name, f"Missing required parameter: '{name}'.", code="missing_required_parameter")
        return self._once[name]

    def optional(self, name: str, default: str) -> str:
        return text_of(self._once[name]).strip() if name in self._once else default

    def choice(self, name: str, values: tuple[str, ...], default: str) -> str:
        chosen = self.optional(name, default) or default
        if chosen not in values:
            raise _bad(name, f"Invalid value: {name} takes one of {_listed(values)}.", code="invalid_value")
        return chosen


def _fields(request: Request) -> _Fields:
    try:
        parts = parse_multipart(request.body, request.headers.get("content-type", ""))
    except TooLarge as error:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is too large: {error}.") from error
    except MalformedInput as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"Could not parse the multipart form: {error}.") from error
    fields = _Fields()
    for part in parts:
        fields.add(part)
    if fields.repeated["include[]"]:
        raise _unsupported("include", _OTHERS["include"])
    return fields


def text_of(part: Part) -> str:
    """The content of a field.

    Raises:
        ApiError: it is not UTF-8.
    """
    try:
        return part.text()
    except MalformedInput as error:
        raise _bad(part.name, f"The field {part.name} is not UTF-8.", code="invalid_value") from error


def _stream(fields: _Fields, response_format: str) -> bool:
    stream = fields.choice("stream", ("true", "false"), "false") == "true"
    if stream and response_format not in STREAMED_FORMATS:
        raise _bad_value("response_format", f"with stream, the format is one of {_listed(STREAMED_FORMATS)}")
    return stream


def _granularities(fields: _Fields, response_format: str) -> frozenset[str]:
    name = "timestamp_granularities"
    chosen = frozenset(text_of(part).strip() for part in fields.repeated[f"{name}[]"])
    if not chosen <= set(GRANULARITIES):
        raise _bad(name, f"Invalid value: {name} takes {_listed(GRANULARITIES)}.", code="invalid_value")
    if chosen and response_format != "verbose_json":
        raise _bad(name, f"{name} needs response_format to be 'verbose_json'.", code="invalid_value")
    return chosen or frozenset({"segment"})


def _temperature(fields: _Fields) -> float:
    try:
        temperature = float(fields.optional("temperature", "0") or 0)
    except ValueError as error:
        raise _bad("temperature", "Invalid type: temperature is a number.", code="invalid_type") from error
    if not 0 <= temperature <= 1:
        raise _bad("temperature", "Invalid value: temperature is between 0 and 1.", code="invalid_value")
    return temperature


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _bad_value(param: str, why: str) -> ApiError:
    return _bad(param, f"Unsupported value: '{param}': {why}.", code="unsupported_value")


def _unsupported(param: str, why: str) -> ApiError:
    return _bad(param, f"Unsupported parameter: '{param}': {why}.", code="unsupported_value")


def _bad(param: str, message: str, *, code: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param, code=code)
