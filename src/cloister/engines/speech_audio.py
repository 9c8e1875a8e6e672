"""An audio file of any format PyAV reads to 16 kHz mono, in pieces, with a cap on what comes out as on what goes in.

Decoding stops at the cap: a few kilobytes can hold hours of silence. Demuxers that would open further files or
addresses (playlists, concat scripts) are denied every protocol; the sandbox denies them the network besides. What is
damaged or cut off is skipped, as ffmpeg does, and what is left is heard.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from http import HTTPStatus

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from cloister.engines.api_error import ApiError

RATE = 16_000  # samples a second
MAXIMUM_SECONDS = 30 * 60
MINIMUM_SECONDS = 0.1
_OPTIONS = {"protocol_whitelist": "none", "max_streams": "32"}


class Audio:
    """The first audio stream of a file, decoded once to measure it and again, piece by piece, to be heard.

    Raises:
        ApiError: 400, no audio that PyAV reads, less than a tenth of a second or more than 30 minutes of it.
    """

    def __init__(self, file: memoryview) -> None:
        self._file = file
        self.seconds = self._measured()

    def pieces(self) -> Iterator[bytes]:
        """Signed 16-bit little-endian samples, mono, 16,000 a second."""
        with self._open() as container:
            yield from _resampled(_frames(container))

    def _measured(self) -> float:
        seconds = 0.0
        try:
            with self._open() as container:
                for frame in _frames(container):
                    seconds += frame.samples / max(1, frame.sample_rate)
                    if seconds > MAXIMUM_SECONDS:
                        raise _bad(f"The audio is longer than {MAXIMUM_SECONDS // 60} minutes.", code="audio_too_long")
        except (av.FFmpegError, ValueError) as error:
            raise _bad(
                "The audio file could not be decoded or its format is not supported. "
                "Supported formats are flac, m4a, mp3, mp4, mpeg, mpga, oga, ogg, wav, webm.",
                code="unsupported_format",
            ) from error
        if seconds < MINIMUM_SECONDS:
            message = f"Audio file is too short. Minimum audio length is {MINIMUM_SECONDS} seconds."
            raise _bad(message, code="audio_too_short")
        return seconds

    def _open(self) -> InputContainer:
        return av.open(_Reader(self._file), mode="r", options=_OPTIONS, metadata_errors="replace")


class _Reader:
    """What PyAV wants of a file, over bytes that are not copied for it."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def read(self, size: int) -> bytes:
        piece = bytes(self._data[self._at : self._at + size])
        self._at += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at


def _frames(container: InputContainer) -> Iterator[AudioFrame]:
    if not container.streams.audio:
        raise _bad("The file has no audio stream.", code="unsupported_format")
    intact = 0
    for packet in _packets(container):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        for frame in frames:
            if isinstance(frame, AudioFrame):
                intact += 1
                yield frame
    if not intact:
        raise _bad("No audio in the file could be decoded.", code="unsupported_format")


def _packets(container: InputContainer) -> Iterator[Packet[AudioStream]]:
    """Packets until the end, or until the container makes no more sense."""
    seen = False
    try:
        for packet in container.demux(container.streams.audio[0]):
            yield packet
            seen = True
    except av.FFmpegError:
        if not seen:
            raise


def _resampled(frames: Iterator[AudioFrame]) -> Iterator[bytes]:
    """A stream may change its rate or channels on the way: each stretch has its own resampler."""
    resampler, of = None, None
    for frame in frames:
        kind = (frame.sample_rate, frame.format.name, frame.layout.name)
        if kind != of:
            yield from _rest(resampler)
            resampler, of = AudioResampler(format="s16", layout="mono", rate=RATE), kind
        if resampler is not None:
            yield from map(_samples, resampler.resample(frame))
    yield from _rest(resampler)


def _rest(resampler: AudioResampler | None) -> Iterator[bytes]:
    if resampler is not None:
        yield from map(_samples, resampler.resample(None))


def _samples(frame: AudioFrame) -> bytes:
    return bytes(memoryview(frame.planes[0])[: frame.samples * 2])


def _bad(message: str, *, code: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, param="file", code=code)
