"""Transcription requests as OpenAI's API has them, and their answers.

Source: https://platform.openai.com/docs/api-reference/audio/createTranscription. The name of the user's file does not
travel, though it would be encrypted: the engine hears what is in it, and needs no more.
"""

from __future__ import annotations

import secrets

import msgspec

from cloister.client.exchange import UserRequest
from cloister.errors import CloisterError, TooLarge, Unavailable, UsageError
from cloister.formats.binary_http import Response

PATH = "/v1/audio/transcriptions"
MAXIMUM_FILE = 25 * 1024 * 1024  # bytes
_HEAD = "Content-Disposition: form-data; name="


class ServiceRefused(UsageError):
    """The service does not take this request; its own words say why."""


class ServiceFailed(Unavailable):
    """The service could not answer; its own words say why."""


class _Text(msgspec.Struct):
    text: str


class _Error(msgspec.Struct):
    message: str


class _ErrorAnswer(msgspec.Struct):
    error: _Error


def transcription_request(audio: bytes, *, model: str) -> UserRequest:
    """A request for the text of `audio`, at most 25 MiB of any format that the engine reads.

    Raises:
        TooLarge: over 25 MiB.
    """
    if len(audio) > MAXIMUM_FILE:
        raise TooLarge(f"{len(audio)} bytes of audio, at most {MAXIMUM_FILE} (25 MiB) are taken: cut or compress it")
    boundary = secrets.token_hex(16)
    fields = {"model": model, "response_format": "json"}
    plain = "".join(f'--{boundary}\r\n{_HEAD}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
    head = f'--{boundary}\r\n{_HEAD}"file"; filename="speech"\r\nContent-Type: application/octet-stream\r\n\r\n'
    body = plain.encode() + head.encode() + audio + f"\r\n--{boundary}--\r\n".encode()
    headers = (("content-type", f"multipart/form-data; boundary={boundary}"), ("accept", "application/json"))
    return UserRequest("POST", PATH, headers, body)


def transcribed_text(response: Response) -> str:
    """The text of a proved answer.

    Raises:
        ServiceRefused, ServiceFailed: it is an error, told in the service's words.
    """
    if response.status != 200:
        raise _error(response)
    try:
        return msgspec.json.decode(response.body, type=_Text).text
    except msgspec.DecodeError as error:
        raise ServiceFailed("the service answered what is no transcription") from error


def _error(response: Response) -> CloisterError:
    try:
        said = msgspec.json.decode(response.body, type=_ErrorAnswer).error.message
    except msgspec.DecodeError:
        said = "without a word why"
    kind = ServiceRefused if response.status < 500 else ServiceFailed
    return kind(f"the service answered {response.status}: {said}")
