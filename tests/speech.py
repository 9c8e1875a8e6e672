"""Speech for tests: everyday sentences, spoken by flite (Debian), in any container that PyAV writes."""

from __future__ import annotations

import io
import math
import shutil
import struct
import subprocess
from array import array
from pathlib import Path

import av
import jiwer
import pytest

VOICES = ("rms", "slt", "awb", "kal16")
SENTENCES = (
    "The weather is cold and it will rain in the afternoon.",
    "Please call my sister and tell her that dinner is ready.",
    "We went to the market to buy bread, milk and eggs.",
    "The doctor asked him how long he had been feeling sick.",
    "She left her keys on the kitchen table this morning.",
    "The train to the city leaves at seven in the morning.",
    "He has worked for the same company for twenty years.",
    "I would like to make an appointment for next Tuesday.",
    "Our children walk to school every day with their friends.",
    "The bank will be closed on Monday because of the holiday.",
    "My father bought a new car at the end of last year.",
    "They are going to build a new bridge across the river.",
)

_WORDS = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.RemovePunctuation(),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


def spoken(sentence: str, voice: str, folder: Path) -> bytes:
    """A wav file of `sentence`; `folder` is for scratch."""
    if shutil.which("flite") is None:
        pytest.skip("flite makes the speech: apt-get install flite")
    path = folder / "spoken.wav"
    subprocess.run(["flite", "-voice", voice, "-t", sentence, "-o", str(path)], check=True)
    return path.read_bytes()


def word_error_rate(said: list[str], heard: list[str]) -> float:
    """Edits a word, case and punctuation aside."""
    return float(jiwer.wer(said, heard, reference_transform=_WORDS, hypothesis_transform=_WORDS))


def wav(samples: bytes, *, rate: int = 16_000) -> bytes:
    """A wav file of 16-bit mono `samples`."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    head = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(samples))
    return b"RIFF" + struct.pack("<I", len(head) + len(samples)) + head + samples


def tone(seconds: float, *, rate: int = 16_000) -> bytes:
    """16-bit samples of a 440 Hz tone."""
    return array("h", (int(9000 * math.sin(2764.6 * n / rate)) for n in range(int(seconds * rate)))).tobytes()


def encoded(wav_file: bytes, container: str, codec: str) -> bytes:
    """The same sound in another format."""
    out = io.BytesIO()
    with av.open(io.BytesIO(wav_file), mode="r") as source, av.open(out, mode="w", format=container) as sink:
        stream = sink.add_stream(codec, rate=48_000 if codec == "libopus" else 16_000)
        assert isinstance(stream, av.AudioStream)
        for frame in source.decode(audio=0):
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return out.getvalue()


def form(
    file: bytes | None, boundary: str = "frontier", file_name: str = "speech.wav", **fields: str
) -> tuple[bytes, str]:
    """A transcription request's body and its content type."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    body = b"".join(f'{head}{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items())
    if file is not None:
        body += f'{head}file"; filename="{file_name}"\r\nContent-Type: audio/wav\r\n\r\n'.encode() + file + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
