"""Utterances of 16 kHz mono audio to words with pocketsphinx and the US-English model it brings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pocketsphinx import Decoder

from cloister.engines.speech_utterances import RATE, Utterance, utterances
from cloister.engines.speech_vocabulary import Spoken
from cloister.engines.transcript import Segment, Word

_FRAMES_A_SECOND = 100
_WORDLESS = ("<", "[", "+")  # silence, noises, breath: what the dictionary of fillers has


class Recognizer:
    """One loaded model. Nothing of one call is kept for the next."""

    def __init__(self, vocabulary: Sequence[Spoken] = ()) -> None:
        """`vocabulary`: words that the model lacks. One that it knows is spoken as the model says."""
        self._decoder = Decoder(samprate=RATE, loglevel="FATAL", beam=1e-60, wbeam=1e-40)
        lacking = [one for one in vocabulary if self._decoder.lookup_word(one.word) is None]
        for one in lacking:
            self._decoder.add_word(one.word, one.phones, one is lacking[-1])  # the search is built anew with the last
        self._cepstral_mean = self._decoder.get_cmn(False)

    def segments(self, pieces: Iterable[bytes]) -> Iterator[Segment]:
        """What is said, lower case, without punctuation, an utterance at a time; none where nobody speaks."""
        self._decoder.set_cmn(self._cepstral_mean)  # the last caller's voice must not colour this one's words
        for utterance in utterances(pieces):
            if segment := self._segment(utterance):
                yield segment

    def _segment(self, utterance: Utterance) -> Segment | None:
        self._decoder.start_utt()
        self._decoder.process_raw(utterance.pcm, full_utt=True)
        self._decoder.end_utt()
        words, quiet, frames = [], 0, 0
        for found in self._decoder.seg() or ():
            length = found.end_frame + 1 - found.start_frame
            frames += length
            if found.word.startswith(_WORDLESS):
                quiet += length
            else:
                words.append(_word(found, utterance.start))
        return Segment(tuple(words), quiet / frames) if words else None


def _word(found: Any, start: float) -> Word:
    text = found.word.partition("(")[0]  # `and(2)` is its second pronunciation
    begun = start + found.start_frame / _FRAMES_A_SECOND
    ended = start + (found.end_frame + 1) / _FRAMES_A_SECOND
    return Word(text, begun, ended, min(1.0, found.prob))
