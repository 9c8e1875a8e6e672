"""The speech engine: OpenAI's transcription API over pocketsphinx. A demo-grade default; it hears US English."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloister.engines import ended, given
from cloister.engines.known_sample import spoken_sample
from cloister.engines.server import inherited_listener, serve
from cloister.engines.speech_audio import Audio
from cloister.engines.speech_recognizer import Recognizer
from cloister.engines.speech_vocabulary import Spoken, parse_vocabulary
from cloister.engines.transcript import Hear, Segment
from cloister.engines.transcription_api import by_sample, handler
from cloister.errors import MalformedInput

MODELS = ("whisper-1", "pocketsphinx-en-us")


class Listening:
    """One file being heard."""

    language = "english"

    def __init__(self, file: memoryview, recognizer: Recognizer) -> None:
        self._audio = Audio(file)
        self._recognizer = recognizer

    @property
    def seconds(self) -> float:
        """How long the audio is."""
        return self._audio.seconds

    def __iter__(self) -> Iterator[Segment]:
        """Recognise it, an utterance at a time."""
        return self._recognizer.segments(self._audio.pieces())


def ears(vocabulary: Sequence[Spoken] = ()) -> Hear:
    """Loads the model (about 0.3 s); the function it gives hears one file at a time."""
    recognizer = Recognizer(vocabulary)
    return lambda file: Listening(file, recognizer)


def given_vocabulary() -> tuple[Spoken, ...]:
    """The words that a section gives; what is no vocabulary ends the engine."""
    try:
        return parse_vocabulary(given.file(given.VOCABULARY) or b"")
    except MalformedInput:
        given.unusable()


def main() -> None:
    """Serve, once it was shown that the engine hears: what it loads on the way is then shared by all that it forks."""
    engine = by_sample(ears(given_vocabulary()), MODELS, spoken_sample(), given.maximum_file())
    handle = handler(engine)
    if not engine.passes(handle):
        raise SystemExit(ended.FAILED)
    serve(inherited_listener(), handle)


if __name__ == "__main__":
    main()
