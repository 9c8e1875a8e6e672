"""A hearing to an answer, in each of the API's formats: whole, or as events while it is being heard.

Source: https://platform.openai.com/docs/api-reference/audio (transcription objects and stream events); SubRip and
WebVTT as openai/whisper writes them.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Iterator
from http import HTTPStatus

from cloister.engines.api_error import ApiError
from cloister.engines.http_exchange import Response
from cloister.engines.transcript import Hearing, Segment, Word
from cloister.engines.transcription_form import TranscriptionForm

_PLAIN = "text/plain; charset=utf-8"
_EVENTS = "text/event-stream; charset=utf-8"
_FRAMES_A_SECOND = 100


def answer(hearing: Hearing, form: TranscriptionForm) -> Response:
    """The answer in the form's format.

    Raises:
        ApiError: the file turned out to be bad before anything was said.
    """
    if form.stream:
        return streamed(hearing)
    segments = list(hearing)
    if form.response_format == "json":
        return Response.json({"text": _text(segments), "usage": _usage(hearing)})
    if form.response_format == "verbose_json":
        return Response.json(verbose(segments, hearing, form))
    written = {"text": lambda: f"{_text(segments)}\n", "srt": lambda: srt(segments), "vtt": lambda: vtt(segments)}
    return Response(HTTPStatus.OK, _PLAIN, written[form.response_format]().encode())


def streamed(hearing: Hearing) -> Response:
    """Events. The first is recognised before the answer begins: until then an error is an answer of its own."""
    segments = iter(hearing)
    first = next(segments, None)
    return Response(HTTPStatus.OK, _EVENTS, _events(first, segments, hearing))


def _events(first: Segment | None, rest: Iterator[Segment], hearing: Hearing) -> Iterator[bytes]:
    said = ""
    try:
        while first is not None:
            delta = f" {first.text}" if said else first.text
            said += delta
            yield _heard(first, hearing) + _event({"type": "transcript.text.delta", "delta": delta})
            first = next(rest, None)
    except ApiError as error:
        yield b"event: error\n" + _event(error.body())
        return
    yield _event({"type": "transcript.text.done", "text": said, "usage": _usage(hearing)})


def _heard(segment: Segment, hearing: Hearing) -> bytes:
    """How far it is, as a comment: every client passes over it, ours shows it."""
    return f": heard {segment.end:.2f} of {max(segment.end, hearing.seconds):.2f} s\n".encode("ascii")


def _event(data: object) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def verbose(segments: list[Segment], hearing: Hearing, form: TranscriptionForm) -> dict[str, object]:
    """The `verbose_json` object; segments or words are in it as the form asks."""
    found: dict[str, object] = {
        "task": form.task,
        "language": hearing.language,
        "duration": round(hearing.seconds, 2),
        "text": _text(segments),
    }
    if "word" in form.granularities:
        found["words"] = [_word(word) for segment in segments for word in segment.words]
    if "segment" in form.granularities:
        found["segments"] = [_segment(number, segment, form) for number, segment in enumerate(segments)]
    return found | {"usage": _usage(hearing)}


def srt(segments: Iterable[Segment]) -> str:
    """SubRip: numbered from 1, with a comma before the milliseconds."""
    cues = (
        f"{number}\n{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}\n{segment.text}\n\n"
        for number, segment in enumerate(segments, 1)
    )
    return "".join(cues)


def vtt(segments: Iterable[Segment]) -> str:
    """WebVTT."""
    cues = (f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n{segment.text}\n\n" for segment in segments)
    return "WEBVTT\n\n" + "".join(cues)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _segment(number: int, segment: Segment, form: TranscriptionForm) -> dict[str, object]:
    text = segment.text.encode()
    return {
        "id": number,
        "seek": int(segment.start * _FRAMES_A_SECOND),
        "start": round(segment.start, 2),
        "end": round(segment.end, 2),
        "text": segment.text,
        "tokens": list(segment.written.tokens) if segment.written else [],  # words are the units of other recognisers
        "temperature": segment.written.temperature if segment.written else form.temperature,
        "avg_logprob": segment.average_logprob,
        "compression_ratio": len(text) / len(zlib.compress(text)),
        "no_speech_prob": segment.quiet,
    }


def _word(word: Word) -> dict[str, object]:
    return {"word": word.text, "start": round(word.start, 2), "end": round(word.end, 2)}


def _text(segments: Iterable[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def _usage(hearing: Hearing) -> dict[str, object]:
    return {"type": "duration", "seconds": math.ceil(hearing.seconds)}
