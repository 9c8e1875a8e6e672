"""Transcription requests as OpenAI's API has them, and their answers.

Source: https://platform.openai.com/docs/api-reference/audio/createTranscription. The name of the user's file does not
travel, though it would be encrypted: the engine hears what is in it, and needs no more.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

import msgspec

from cloister.client.exchange import UserRequest
from cloister.errors import CloisterError, TooLarge, Unavailable, UsageError
from cloister.formats.binary_http import Response

PATH = "/v1/audio/transcriptions"
MAXIMUM_FILE = 25 * 1024 * 1024  # bytes
BUSY: Final = frozenset({429, 503})  # answers that say to come back later: nothing was done
MAXIMUM_WAIT = 60.0  # seconds; a service that asks for more is asked again sooner
_HEAD = "Content-Disposition: form-data; name="

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
RESPONSE_FORMATS: Final[tuple[ResponseFormat, ...]] = get_args(ResponseFormat)


class ServiceRefused(UsageError):
    """The service does not take this request; its own words say why."""


class ServiceFailed(Unavailable):
    """The service could not answer; its own words say why."""


class ServiceBusy(ServiceFailed):
    """The service has no room for the request now; `wait` is after how many seconds it says to try again."""

    def __init__(self, sentence: str, wait: float) -> None:
        super().__init__(sentence)
        self.wait = wait


class _Text(msgspec.Struct):
    text: str


class _Error(msgspec.Struct):
    message: str


class _ErrorAnswer(msgspec.Struct):
    error: _Error


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a transcription is wanted, by the API's names; what is empty is not sent, and the service's default holds."""

    model: str
    response_format: ResponseFormat = "json"
    language: str = ""  # ISO 639-1, as "en"
    prompt: str = ""
    temperature: float | None = None  # 0 to 1
    stream: bool = False  # events while it is recognised

    def fields(self) -> Iterator[tuple[str, str]]:
        """The form's fields beside the file."""
        yield "model", self.model
        yield "response_format", self.response_format
        if self.language:
            yield "language", self.language
        if self.prompt:
            yield "prompt", self.prompt
        if self.temperature is not None:
            yield "temperature", f"{self.temperature:g}"
        if self.stream:
            yield "stream", "true"


def transcription_request(audio: bytes, wishes: Wishes) -> UserRequest:
    """A request for the text of `audio`, at most 25 MiB of any format that the engine reads.

    Raises:
        TooLarge: over 25 MiB.
    """
    if len(audio) > MAXIMUM_FILE:
        raise TooLarge(f"{len(audio)} bytes of audio, at most {MAXIMUM_FILE} (25 MiB) are taken: cut or compress it")
    boundary = secrets.token_hex(16)
    plain = "".join(f'--{boundary}\r\n{_HEAD}"{name}"\r\n\r\n{value}\r\n' for name, value in wishes.fields())
    head = f'--{boundary}\r\n{_HEAD}"file"; filename="speech"\r\nContent-Type: application/octet-stream\r\n\r\n'
    body = plain.encode() + head.encode() + audio + f"\r\n--{boundary}--\r\n".encode()
    headers = (("content-type", f"multipart/form-data; boundary={boundary}"), ("accept", "application/json"))
    return UserRequest("POST", PATH, headers, body)


def transcribed_text(response: Response) -> str:
    """The text alone of a proved answer whose format is `json` or `verbose_json`.

    Raises:
        ServiceRefused, ServiceBusy, ServiceFailed: it is an error, told in the service's words.
    """
    try:
        return msgspec.json.decode(transcribed(response), type=_Text).text
    except msgspec.DecodeError as error:
        raise ServiceFailed("the service answered what is no transcription") from error


def transcribed(response: Response) -> bytes:
    """A proved answer as it came, in whichever format was asked for.

    Raises:
        ServiceRefused, ServiceBusy, ServiceFailed: it is an error, told in the service's words.
    """
    if response.status != 200:
        raise _error(response)
    return response.body


def _error(response: Response) -> CloisterError:
    try:
        said = msgspec.json.decode(response.body, type=_ErrorAnswer).error.message
    except msgspec.DecodeError:
        said = "without a word why"
    sentence = f"the service answered {response.status}: {said}"
    if response.status in BUSY:
        return ServiceBusy(sentence, _wait(response))
    return ServiceRefused(sentence) if response.status < 500 else ServiceFailed(sentence)


def _wait(response: Response) -> float:
    """Its Retry-After in seconds (RFC 9110 section 10.2.3), at most `MAXIMUM_WAIT`; 2 where it says nothing of use."""
    said = dict(response.headers).get("retry-after", "")
    return min(float(said), MAXIMUM_WAIT) if said.isascii() and said.isdecimal() and len(said) < 7 else 2.0
