"""An audio file of any format PyAV reads to 16 kHz mono, in memory, with a cap on what comes out as on what goes in.

Decoding stops at the cap: a few kilobytes can hold hours of silence. Demuxers that would open further files or
addresses (playlists, concat scripts) are denied every protocol; the sandbox denies them the network besides.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from cloister.engines.api_error import ApiError

RATE = 16_000  # samples a second
MAXIMUM_SECONDS = 30 * 60
_DENY_PROTOCOLS = {"protocol_whitelist": "none"}


@dataclass(frozen=True, slots=True)
class Audio:
    """Signed 16-bit little-endian samples, mono, 16,000 a second."""

    pcm: bytes

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.pcm) / (2 * RATE)


def decode_audio(file: bytes) -> Audio:
    """The first audio stream of `file`. Damaged packets are skipped, as ffmpeg does.

    Raises:
        ApiError: 400, no audio that PyAV reads, or more than 30 minutes of it.
    """
    try:
        with av.open(io.BytesIO(file), mode="r", options=_DENY_PROTOCOLS, metadata_errors="replace") as container:
            return Audio(_resample(_frames(container)))
    except (av.FFmpegError, ValueError) as error:
        raise _bad("The file is not audio in a format this engine reads (wav, mp3, ogg, flac, m4a, webm …).") from error


def _frames(container: InputContainer) -> Iterator[AudioFrame]:
    """The decoded frames, counted before they are resampled: one frame at 1 Hz would become minutes."""
    if not container.streams.audio:
        raise _bad("The file has no audio stream.")
    stream = container.streams.audio[0]
    seconds = 0.0
    intact = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        for frame in frames:
            intact += 1
            seconds += frame.samples / max(1, frame.sample_rate)
            if seconds > MAXIMUM_SECONDS:
                raise _bad(f"The audio is longer than {MAXIMUM_SECONDS // 60} minutes.")
            yield frame
    if not intact:
        raise _bad("No audio in the file could be decoded.")


def _resample(frames: Iterator[AudioFrame]) -> bytes:
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    pcm = bytearray()
    for frame in frames:
        for even in resampler.resample(frame):
            pcm += memoryview(even.planes[0])[: even.samples * 2]
    for even in resampler.resample(None):
        pcm += memoryview(even.planes[0])[: even.samples * 2]
    return bytes(pcm)


def _bad(message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, param="file")
