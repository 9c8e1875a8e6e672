"""Forms of recorded speech for an upstream, and its answer in the format that the client asked for.

A server that has `verbose_json` has the times of what was said, and the other formats are made of it; one that has only
text can give text. What cannot be had truly is refused.
"""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import Any, Final

from cloister.engines.http_exchange import Request, Response
from cloister.engines.transcript import Segment, Word
from cloister.engines.transcription_answer import srt, vtt
from cloister.engines.upstream_answers import counts, read_answer
from cloister.engines.upstream_dialects import Route
from cloister.engines.upstream_errors import UpstreamError, failed, refused
from cloister.engines.upstream_json import parse_json
from cloister.errors import CloisterError
from cloister.formats.multipart import Part, parse_multipart

BOUNDARY: Final = "cloister-7f3c1b5ad0e94d2a"  # checked not to stand in what it separates
FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
_PLAIN: Final = "text/plain; charset=utf-8"
_ENDING: Final = re.compile(r"\.[A-Za-z0-9]{1,5}\Z")
_IGNORED: Final = frozenset({"user", "chunking_strategy"})
_TOLD: Final = frozenset({"task", "language", "duration", "text", "segments", "words", "logprobs"})


class Form:
    """A request for a transcription that the upstream can be asked for."""

    def __init__(self, request: Request, route: Route, native: tuple[str, ...]) -> None:
        """Read and check it.

        Raises:
            UpstreamError: not a form, a field unknown, twice or missing, or a format that cannot be had truly.
        """
        self._fields: list[tuple[str, bytes]] = []
        self._files: list[Part] = []
        self.model = ""
        self.wanted = self.asked = "json"
        try:
            parts = parse_multipart(request.body, request.headers.get("content-type", ""))
        except CloisterError as error:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if error.status == 413 else HTTPStatus.BAD_REQUEST
            raise UpstreamError(status, "The body is not a form, or over its cap.", code="invalid_form") from error
        for part in parts:
            self._add(part, route)
        if not self._files or not self.model:
            name = "model" if self._files else "file"
            raise refused(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
        self.asked = _asked_for(self.wanted, native)

    def _add(self, part: Part, route: Route) -> None:
        name = part.name
        if name == "file" and not self._files:
            self._files.append(part)
            return
        if name in _IGNORED:
            return
        if name == "stream" and bytes(part.content).strip().lower() in {b"", b"false"}:
            return
        known = name in route.fields and (name.endswith("[]") or name not in {one for one, _ in self._fields})
        if not known or (name in {"model", "response_format"} and len(part.content) > 256):
            shown = name if name in {"file", "stream", *route.fields} else None
            raise refused("A field of the form is unknown here, or there twice.", param=shown, code="unknown_parameter")
        try:
            content = part.text()
        except CloisterError as error:
            raise refused(f"The field {name} is not UTF-8.", param=name) from error
        if name == "model":
            self.model = content
        elif name == "response_format":
            self.wanted = content.strip() or "json"
        elif content.strip() or name == "prompt":  # some servers fail on an empty language
            self._fields.append((name, content.encode()))

    def encode(self, model: str) -> tuple[str, bytes]:
        """The content type and body for the upstream; the file's name says its kind and nothing else."""
        file = self._files[0]
        ending = _ENDING.search(file.filename or "")
        name = f'file"; filename="audio{ending[0].lower() if ending else ""}'
        fields = [("model", model.encode()), ("response_format", self.asked.encode()), *self._fields]
        parts = [_part(key, value) for key, value in fields]
        parts.append(_part(name, bytes(file.content), kind="application/octet-stream"))
        body = b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])
        if body.count(BOUNDARY.encode()) != len(parts) + 1:
            raise refused("A field of the form holds what separates its parts.")
        return f"multipart/form-data; boundary={BOUNDARY}", body

    def answer(self, body: bytes) -> Response:
        """The upstream's answer in the client's format.

        Raises:
            UpstreamError: it is none, or has text or times that cannot be written.
        """
        try:
            return self._answer(body)
        except (ValueError, LookupError, TypeError, OverflowError) as error:  # UnicodeError is a ValueError
            raise failed() from error

    def _answer(self, body: bytes) -> Response:
        if self.asked in {"text", "srt", "vtt"}:
            return Response(HTTPStatus.OK, _PLAIN, _text(body).encode())
        found = _object(body)
        if self.wanted in {"json", "verbose_json"}:
            return Response.json(_with_usage(found if self.wanted == self.asked else {"text": found["text"]}, found))
        if self.wanted == "text":
            return Response(HTTPStatus.OK, _PLAIN, f"{found['text'].strip()}\n".encode())
        written = (srt if self.wanted == "srt" else vtt)(_segments(found))
        return Response(HTTPStatus.OK, _PLAIN, written.encode())


def _asked_for(wanted: str, native: tuple[str, ...]) -> str:
    """The format that the upstream is asked for."""
    if wanted in native:
        return wanted
    if wanted in FORMATS and "verbose_json" in native:
        return "verbose_json"
    if wanted == "text" and "json" in native:
        return "json"
    message = "This server's transcriptions do not have what this format needs (times)." if wanted in FORMATS else ""
    choices = ", ".join(native)
    raise refused(message or f"response_format takes one of: {choices}.", param="response_format")


def _object(body: bytes) -> dict[str, Any]:
    found = read_answer(body)
    if not isinstance(found.get("text"), str):
        raise failed()
    return found


def _with_usage(answer: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The members that clients get, none empty, and the usage that `known` says or can be counted from."""
    passed = {name: value for name, value in answer.items() if name in _TOLD and value is not None}
    told = {name: value for name, value in passed.items() if (name, value) != ("language", "")}
    usage = _usage(known)
    return told if usage is None else told | {"usage": usage}


def _usage(known: dict[str, Any]) -> dict[str, Any] | None:
    """Tokens, or else the seconds that were heard."""
    said = known.get("usage")
    if tokens := counts(said):
        return {"type": "tokens"} | tokens
    seconds = said.get("seconds") if isinstance(said, dict) else known.get("duration")
    if isinstance(seconds, int | float) and 0 <= seconds < math.inf:
        return {"type": "duration", "seconds": math.ceil(seconds)}
    return None


def _segments(found: dict[str, Any]) -> list[Segment]:
    return [
        Segment((Word(str(one["text"]).strip(), float(one["start"]), float(one["end"]), 1),), 0)
        for one in found["segments"]
    ]


def _text(body: bytes) -> str:
    """Plain text; some servers put it into a JSON string."""
    return str(parse_json(body) if body.startswith(b'"') else body.decode())


def _part(name: str, content: bytes, *, kind: str | None = None) -> bytes:
    typed = "" if kind is None else f"Content-Type: {kind}\r\n"
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n{typed}\r\n'
    return head.encode() + content + b"\r\n"
