"""The speech engine: OpenAI's transcription endpoint over pocketsphinx. A demo-grade default; it hears US English."""

from __future__ import annotations

from cloister.engines.server import inherited_listener, serve
from cloister.engines.speech_audio import decode_audio
from cloister.engines.speech_recognizer import Recognizer
from cloister.engines.transcription_api import Transcribe, Transcript, handler

MODELS = frozenset({"whisper-1", "pocketsphinx-en-us"})


def transcriber() -> Transcribe:
    """Loads the model (about 0.3 s); the function it gives hears one file at a time."""
    recognizer = Recognizer()

    def transcribe(file: bytes) -> Transcript:
        audio = decode_audio(file)
        return Transcript(recognizer.text(audio.pcm), audio.seconds)

    return transcribe


if __name__ == "__main__":
    serve(inherited_listener(), handler(transcriber(), models=MODELS))
