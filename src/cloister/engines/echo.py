"""An engine that hears nothing: it answers how much it got. For tests of what is around it."""

from __future__ import annotations

from cloister.engines.server import inherited_listener, serve
from cloister.engines.transcription_api import Transcript, handler

MODELS = frozenset({"whisper-1"})


def echo(file: bytes) -> Transcript:
    """Says how many bytes the file has."""
    return Transcript(f"{len(file)} bytes", 0)


if __name__ == "__main__":
    serve(inherited_listener(), handler(echo, models=MODELS))
