"""Any bytes to the decoder, damaged audio above all: samples, or a refusal in OpenAI's shape."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.speech import encoded, tone, wav

from cloister.engines.api_error import ApiError
from cloister.engines.speech_audio import MAXIMUM_SECONDS, RATE, Audio

WHOLE = [
    encoded(wav(tone(0.2)), container, codec)
    for container, codec in (("wav", "pcm_s16le"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("ipod", "aac"))
] + [encoded(wav(tone(0.2)), "flac", "flac"), encoded(wav(tone(0.2)), "webm", "libopus")]


def decoded_or_refused(file: bytes) -> None:
    with contextlib.suppress(ApiError):  # anything else would end the engine
        audio = Audio(memoryview(file))
        assert audio.seconds <= MAXIMUM_SECONDS
        assert sum(map(len, audio.pieces())) / (2 * RATE) <= MAXIMUM_SECONDS + 1


@settings(max_examples=300, deadline=None)
@given(
    whole=st.sampled_from(WHOLE),
    at=st.floats(0, 1),
    piece=st.binary(min_size=1, max_size=16),
    end=st.floats(0, 1),
)
def test_damaged_audio_is_decoded_or_refused(whole, at, piece, end):
    start = int(at * len(whole))
    damaged = whole[:start] + piece + whole[start + len(piece) :]
    decoded_or_refused(damaged)
    decoded_or_refused(damaged[: int(end * len(damaged))])


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_decoded_or_refused(file):
    decoded_or_refused(file)
