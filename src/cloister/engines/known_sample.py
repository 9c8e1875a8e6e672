"""A recording whose words are known, by which an engine shows that it hears: at its start, and when it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloister.engines.api_error import ApiError
from cloister.engines.transcript import Hear

SPOKEN = "good morning"
_FILE = Path(__file__).with_name("known_sample.ogg")


@dataclass(frozen=True, slots=True)
class KnownSample:
    """A file, and what an engine must hear in it."""

    file: bytes
    words: str

    def heard_by(self, hear: Hear) -> bool:
        """Whether `hear` hears just these words."""
        try:
            return " ".join(segment.text for segment in hear(memoryview(self.file))) == self.words
        except ApiError:
            return False


def spoken_sample() -> KnownSample:
    """The recording that comes with this package; `scripts/known_sample` makes it."""
    return KnownSample(_FILE.read_bytes(), SPOKEN)
