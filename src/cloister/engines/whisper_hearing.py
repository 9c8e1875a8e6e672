"""One file heard by a Whisper model: decoded in memory, then as the form says, a segment at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from faster_whisper.vad import VadOptions, get_speech_timestamps

from cloister.engines.speech_audio import Audio
from cloister.engines.transcript import Segment, Word, Written
from cloister.engines.transcription_form import TranscriptionForm
from cloister.engines.whisper_languages import NAMES, UNKNOWN
from cloister.engines.whisper_model import Whisper

# Temperatures that are tried in their order while a text repeats itself or is unlikely, as OpenAI's own program does.
_TRIED: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_LEAST: Final = VadOptions(threshold=0.3)  # lower than usual: a file is passed over only where nobody speaks at all
_LOUDEST: Final = 32_768  # of 16-bit samples
_SECOND: Final = 16_000  # samples


class WhisperHearing:
    """A `Hearing`. The whole file is decoded when this is made; the model works as segments are asked for.

    Where nobody speaks, Whisper models make words up. So what a second, small model (Silero's, which comes with
    faster-whisper) finds no speech in is not given to them.
    """

    def __init__(self, whisper: Whisper, form: TranscriptionForm) -> None:
        """Decode the file and find out its language.

        Raises:
            ApiError: 400, it is not audio that can be decoded, or too short or long.
        """
        audio = Audio(form.file)
        self.seconds = audio.seconds
        samples = np.frombuffer(b"".join(audio.pieces()), np.int16).astype(np.float32)
        samples /= _LOUDEST
        self._found: Iterator[Any] = iter(())
        language = form.language
        if get_speech_timestamps(samples, _LEAST):
            self._found, language = _transcribed(whisper, samples, form)
        self.language = NAMES.get(language or "", language or UNKNOWN)

    def __iter__(self) -> Iterator[Segment]:
        """The segments as they are written."""
        for found in self._found:
            if found.text.strip():
                yield _segment(found)


def make_ready() -> None:
    """Load the model that finds speech, which comes with the library, where all that are forked share it."""
    get_speech_timestamps(np.zeros(_SECOND, np.float32), _LEAST)


def heard_words(hearing: WhisperHearing) -> str:
    """What was said in lower case, without punctuation."""
    said = " ".join(segment.text for segment in hearing).lower()
    return " ".join("".join(letter if letter.isalnum() else " " for letter in said).split())


def _transcribed(whisper: Whisper, samples: np.ndarray, form: TranscriptionForm) -> tuple[Iterator[Any], str]:
    segments, info = whisper.awaken().transcribe(
        samples,
        language=form.language,
        task=form.task,
        temperature=[form.temperature] if form.temperature else list(_TRIED),
        initial_prompt=form.prompt or None,
        word_timestamps="word" in form.granularities,
        vad_filter=form.chunked,
    )
    return iter(segments), info.language


def _segment(found: Any) -> Segment:
    words = tuple(
        Word(word.word.strip(), float(word.start), float(word.end), min(1.0, float(word.probability)))
        for word in found.words or ()
    )
    logprob = float(found.avg_logprob)
    written = Written(
        text=found.text.strip(),
        start=float(found.start),
        end=float(found.end),
        average_logprob=logprob if math.isfinite(logprob) else -1e9,
        tokens=tuple(map(int, found.tokens)),
        temperature=float(found.temperature or 0),
    )
    return Segment(words, float(found.no_speech_prob), written)
