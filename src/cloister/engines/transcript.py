"""What an engine hears: words with their times, in segments that come as they are recognised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Word:
    """One word, from `start` to `end` in seconds of the audio, with the recogniser's own confidence from 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Written:
    """What a recogniser that writes sentences says of a stretch of speech as a whole; times in seconds."""

    text: str
    start: float
    end: float
    average_logprob: float
    tokens: tuple[int, ...]
    temperature: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of speech: its words, at least one where nothing is `written`.

    `quiet` is the share of its time that the recogniser found wordless, or how likely it found that nobody spoke.
    """

    words: tuple[Word, ...]
    quiet: float
    written: Written | None = None

    @property
    def text(self) -> str:
        """What is said."""
        return self.written.text if self.written else " ".join(word.text for word in self.words)

    @property
    def start(self) -> float:
        """Seconds."""
        return self.written.start if self.written else self.words[0].start

    @property
    def end(self) -> float:
        """Seconds."""
        return self.written.end if self.written else self.words[-1].end

    @property
    def average_logprob(self) -> float:
        """The mean of the natural logarithms of the tokens' probabilities, or of the words' confidences."""
        if self.written:
            return self.written.average_logprob
        return sum(math.log(max(word.confidence, 1e-9)) for word in self.words) / len(self.words)


class Hearing(Protocol):
    """One file being heard. Each step of an iteration recognises a segment, and raises `ApiError` for a bad file."""

    @property
    def seconds(self) -> float:
        """How much audio was decoded so far; all of it when there are no more segments."""

    @property
    def language(self) -> str:
        """Which language it is, as the API names it: `english`."""

    def __iter__(self) -> Iterator[Segment]:
        """The segments in the order of their times."""


Hear = Callable[[memoryview], Hearing]
