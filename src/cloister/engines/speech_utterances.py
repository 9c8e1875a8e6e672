"""16 kHz mono audio to the stretches of it in which somebody speaks, as it comes and without keeping what is past.

Voice activity is found with mode 3; each utterance keeps some of the silence around it. Without that margin the
acoustic model loses first and last words: measured over four synthetic voices, the word error rate is 41 % for the
worst voice without it and 5 % with it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import mul

from pocketsphinx import Endpointer

RATE = 16_000
MARGIN_SECONDS = 0.3
LONG_SECONDS = 8  # an utterance this long ends at a pause, however short: it would make a long subtitle
MAXIMUM_SECONDS = 30  # where there is no pause; a decoder's memory grows with its utterance
_PAUSE_FRAMES = 6  # 180 ms
_PAUSE_RATIO = 50  # of the utterance's mean power to a pause's: 17 dB
_WINDOW_SECONDS = 0.3  # what the endpointer looks back over before it says that speech began or ended
_SECOND = 2 * RATE  # bytes


@dataclass(frozen=True, slots=True)
class Utterance:
    """Samples, and when they begin, in seconds of the audio."""

    start: float
    pcm: bytes


def utterances(pieces: Iterable[bytes]) -> Iterator[Utterance]:
    """The utterances in `pieces`, each as soon as it is known to be over."""
    cutter = _Cutter()
    for piece in pieces:
        yield from cutter.feed(piece)
    yield from cutter.end()


def _bytes(seconds: float) -> int:
    return 2 * int(seconds * RATE)


_MARGIN, _WINDOW = _bytes(MARGIN_SECONDS), _bytes(_WINDOW_SECONDS)


class _Cutter:
    """All positions are in bytes from the beginning of the audio."""

    def __init__(self) -> None:
        self._endpointer = Endpointer(sample_rate=RATE, vad_mode=3, window=_WINDOW_SECONDS)
        self._frame: int = self._endpointer.frame_bytes
        self._held = bytearray()
        self._held_from = 0
        self._looked = 0  # up to where the endpointer has looked
        self._begun: int | None = None  # of the utterance that is being gathered
        self._over: int | None = None  # where it ends, unless speech goes on before that
        self._cut = 0  # where the last one ended

    def feed(self, piece: bytes) -> Iterator[Utterance]:
        self._held += piece
        while self._looked + self._frame <= self._held_from + len(self._held):
            yield from self._look(bytes(self._slice(self._looked, self._looked + self._frame)))
        self._forget()

    def end(self) -> Iterator[Utterance]:
        """Half a second of silence closes what is open, and is not part of it."""
        total = self._held_from + len(self._held)
        for utterance in self.feed(bytes(_SECOND // 2)):
            yield _until(utterance, total)
        if self._begun is not None:
            over = total if self._over is None else min(self._over, total)
            yield from self._emit(over)

    def _look(self, frame: bytes) -> Iterator[Utterance]:
        was_speaking = self._endpointer.in_speech
        self._endpointer.process(frame)
        self._looked += self._frame
        speaking = self._endpointer.in_speech
        if speaking and not was_speaking:
            yield from self._speech_begins(max(self._cut, _bytes(self._endpointer.speech_start) - _MARGIN))
        if was_speaking and not speaking:
            self._over = _bytes(self._endpointer.speech_end) + _MARGIN
        if speaking:
            yield from self._divide()
        if self._over is not None and self._looked > self._over + _WINDOW + _MARGIN + self._frame:
            yield from self._emit(self._over)

    def _divide(self) -> Iterator[Utterance]:
        """End an utterance that has become long, in the middle of its longest late pause; asked each second."""
        if self._begun is None or (length := self._looked - self._begun) < LONG_SECONDS * _SECOND:
            return
        at: int | None = MAXIMUM_SECONDS * _SECOND if length >= MAXIMUM_SECONDS * _SECOND else None
        if length % _SECOND < self._frame:
            at = longest_pause(self._slice(self._begun, self._looked), self._frame) or at
        if at is not None:
            yield from self._emit(self._begun + at)
            self._begun = self._cut

    def _speech_begins(self, at: int) -> Iterator[Utterance]:
        """Join it with the utterance before where their margins meet; where that is long, divide the pause."""
        if self._begun is not None and self._over is not None:
            meet = at <= self._over
            if meet and self._over - self._begun < LONG_SECONDS * _SECOND:
                at = self._begun
            else:
                divided = (at + self._over) // 4 * 2 if meet else self._over
                yield from self._emit(divided)
                at = max(at, self._cut)
        self._begun, self._over = at, None

    def _emit(self, over: int) -> Iterator[Utterance]:
        begun, self._begun, self._over, self._cut = self._begun or 0, None, None, over
        if over > begun:
            yield Utterance(begun / _SECOND, bytes(self._slice(begun, over)))

    def _slice(self, start: int, end: int) -> bytearray:
        return self._held[start - self._held_from : end - self._held_from]

    def _forget(self) -> None:
        """Drop what can be part of no utterance any more."""
        keep = self._begun if self._begun is not None else self._looked - 2 * (_WINDOW + _MARGIN)
        if keep > self._held_from:
            del self._held[: keep - self._held_from]
            self._held_from = keep


def longest_pause(pcm: bytes | bytearray, frame: int) -> int | None:
    """The middle of the longest pause in the second half of `pcm`, in bytes; None where nobody draws breath."""
    powers = [_power(pcm[start : start + frame]) for start in range(0, len(pcm) - frame + 1, frame)]
    quiet = sum(powers) / len(powers) / _PAUSE_RATIO
    longest, run, middle = _PAUSE_FRAMES - 1, 0, None
    for number in range(len(powers) // 2, len(powers)):
        run = run + 1 if powers[number] < quiet else 0
        if run > longest:
            longest, middle = run, (number + 1) * frame - run * frame // 4 * 2
    return middle


def _power(frame: bytes | bytearray) -> int:
    samples = array("h", bytes(frame))
    return sum(map(mul, samples, samples))


def _until(utterance: Utterance, total: int) -> Utterance:
    return Utterance(utterance.start, utterance.pcm[: max(0, total - round(utterance.start * _SECOND))])
