import time

import pytest
from tests.speech import encoded, tone, wav

from cloister.engines.api_error import ApiError
from cloister.engines.speech_audio import decode_audio

FORMATS = [
    ("wav", "pcm_s16le"),
    ("mp3", "libmp3lame"),
    ("ogg", "libopus"),
    ("flac", "flac"),
    ("ipod", "aac"),
    ("mp4", "aac"),
    ("webm", "libopus"),
]


@pytest.mark.parametrize(("container", "codec"), FORMATS)
def test_every_common_format_becomes_the_same_second_and_a_half(container, codec):
    audio = decode_audio(encoded(wav(tone(1.5)), container, codec))
    assert audio.seconds == pytest.approx(1.5, abs=0.15)
    assert max(audio.pcm) > 0


@pytest.mark.parametrize("file", [b"", b"hello", bytes(4000), wav(b"")[:30], b"<html>" * 100])
def test_what_is_not_audio_is_refused_and_not_quoted(file):
    with pytest.raises(ApiError, match=r"not audio|could be decoded|no audio stream") as refusal:
        decode_audio(file)
    assert (refusal.value.http_status, refusal.value.param) == (400, "file")
    assert "hello" not in str(refusal.value)


def test_audio_over_thirty_minutes_is_refused():
    assert decode_audio(wav(bytes(2 * 500 * 1790), rate=500)).seconds == pytest.approx(1790, abs=1)
    with pytest.raises(ApiError, match="longer than 30 minutes"):
        decode_audio(wav(bytes(2 * 500 * 1801), rate=500))


def test_a_decompression_bomb_stops_at_the_cap_and_not_after_it():
    hours = wav(bytes(25_000_000), rate=1)  # 144 days at one sample a second
    begun = time.monotonic()
    with pytest.raises(ApiError, match="longer than 30 minutes"):
        decode_audio(hours)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("wrap", ["ffconcat version 1.0\nfile {}\n", "#EXTM3U\n#EXTINF:5\n{}\n#EXT-X-ENDLIST\n"])
def test_a_playlist_opens_no_other_file(tmp_path, monkeypatch, wrap):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.wav").write_bytes(wav(tone(1)))
    with pytest.raises(ApiError, match="not audio"):
        decode_audio(wrap.format("other.wav").encode())


def test_damage_in_the_middle_costs_what_is_damaged():
    whole = encoded(wav(tone(3)), "mp3", "libmp3lame")
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(600) + whole[middle + 600 :]
    assert decode_audio(damaged).seconds == pytest.approx(3, abs=0.6)
