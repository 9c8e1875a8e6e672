import time

import pytest
from tests.speech import encoded, tone, wav

from cloister.engines.api_error import ApiError
from cloister.engines.speech_audio import RATE, Audio

FORMATS = [
    ("wav", "pcm_s16le"),
    ("mp3", "libmp3lame"),
    ("ogg", "libopus"),
    ("flac", "flac"),
    ("ipod", "aac"),
    ("mp4", "aac"),
    ("webm", "libopus"),
]


def heard(file):
    """How long the audio is, and the seconds of samples that come of it."""
    audio = Audio(memoryview(file))
    return audio.seconds, sum(map(len, audio.pieces())) / (2 * RATE)


def refusal(file):
    with pytest.raises(ApiError) as refused:
        Audio(memoryview(file))
    assert (refused.value.http_status, refused.value.param) == (400, "file")
    return refused.value


@pytest.mark.parametrize(("container", "codec"), FORMATS)
def test_every_common_format_becomes_the_same_second_and_a_half(container, codec):
    file = encoded(wav(tone(1.5)), container, codec)
    assert heard(file) == (pytest.approx(1.5, abs=0.15), pytest.approx(1.5, abs=0.15))
    assert any(max(piece) for piece in Audio(memoryview(file)).pieces() if piece)


def test_samples_come_in_pieces_and_not_all_at_once():
    pieces = list(Audio(memoryview(wav(tone(10)))).pieces())
    assert max(map(len, pieces)) < 32_000
    assert len(pieces) > 10


@pytest.mark.parametrize("file", [b"", b"hello", bytes(4000), wav(b"")[:30], b"<html>" * 100])
def test_what_is_not_audio_is_refused_and_not_quoted(file):
    refused = refusal(file)
    assert refused.code == "unsupported_format"
    assert "hello" not in str(refused)


def test_audio_under_a_tenth_of_a_second_is_refused_as_too_short():
    assert refusal(wav(tone(0.09))).code == "audio_too_short"
    assert heard(wav(tone(0.1)))[0] == pytest.approx(0.1)


def test_audio_over_thirty_minutes_is_refused():
    assert Audio(memoryview(wav(bytes(2 * 500 * 1790), rate=500))).seconds == pytest.approx(1790, abs=1)
    assert refusal(wav(bytes(2 * 500 * 1801), rate=500)).code == "audio_too_long"


def test_a_decompression_bomb_stops_at_the_cap_and_not_after_it():
    hours = wav(bytes(25_000_000), rate=1)  # 144 days at one sample a second
    begun = time.monotonic()
    assert refusal(hours).code == "audio_too_long"
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("wrap", ["ffconcat version 1.0\nfile {}\n", "#EXTM3U\n#EXTINF:5\n{}\n#EXT-X-ENDLIST\n"])
def test_a_playlist_opens_no_other_file(tmp_path, monkeypatch, wrap):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.wav").write_bytes(wav(tone(1)))
    assert refusal(wrap.format("other.wav").encode()).code == "unsupported_format"


def test_damage_in_the_middle_costs_what_is_damaged():
    whole = encoded(wav(tone(3)), "mp3", "libmp3lame")
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(600) + whole[middle + 600 :]
    assert heard(damaged)[1] == pytest.approx(3, abs=0.6)


@pytest.mark.parametrize(("container", "codec"), [("ogg", "libopus"), ("mp3", "libmp3lame"), ("flac", "flac")])
def test_of_a_file_that_is_cut_off_what_is_there_is_heard(container, codec):
    whole = encoded(wav(tone(4)), container, codec)
    assert 1 < heard(whole[: len(whole) // 2])[1] < 3.5
