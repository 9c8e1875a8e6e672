"""An engine that hears nothing: it answers how much it got. For tests of what is around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cloister.engines import given
from cloister.engines.known_sample import KnownSample
from cloister.engines.server import inherited_listener, serve
from cloister.engines.transcript import Segment, Word
from cloister.engines.transcription_api import by_sample, handler

MODELS = ("whisper-1",)
SAMPLE = KnownSample(b"RIFF", "4 bytes")


@dataclass(frozen=True, slots=True)
class Echo:
    """Says how many bytes a file has, in a segment for each word."""

    size: int
    seconds: float = 0
    language: str = "english"

    def __iter__(self) -> Iterator[Segment]:
        """`N`, then `bytes`."""
        for word in (str(self.size), "bytes"):
            yield Segment((Word(word, 0, 0, 1),), 0)


def echo(file: memoryview) -> Echo:
    """Hear `file`."""
    return Echo(len(file))


if __name__ == "__main__":
    serve(inherited_listener(), handler(by_sample(echo, MODELS, SAMPLE, given.maximum_file())))
