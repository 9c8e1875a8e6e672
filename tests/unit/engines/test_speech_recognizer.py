import itertools

import pytest
from tests.speech import SENTENCES, spoken

from cloister.engines.speech_audio import decode_audio
from cloister.engines.speech_recognizer import MAXIMUM_UTTERANCE_SECONDS, Recognizer, utterances


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer()


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return decode_audio(spoken(SENTENCES[0], "kal16", tmp_path_factory.mktemp("speech"))).pcm


@pytest.mark.parametrize("pcm", [b"", b"\x00", bytes(64_000), bytes(10 * 32_000)])
def test_silence_is_heard_as_nothing(recognizer, pcm):
    assert recognizer.text(pcm) == ""


def test_a_call_hears_the_same_whatever_was_heard_before(recognizer, speech):
    first = recognizer.text(speech)
    recognizer.text(bytes(len(speech)))
    recognizer.text(speech[::2] + b"\x00" * (len(speech[::2]) % 2))
    assert "weather is cold" in first
    assert recognizer.text(speech) == first


def test_utterances_are_cut_out_of_silence_with_a_margin_and_bounded(speech):
    silence = bytes(2 * 32_000)
    ((start, end),) = utterances(silence + speech + silence)
    assert 1.4 < start < 2.3
    assert end < 4 + len(speech) / 32_000
    long = list(utterances(speech * 20))
    assert max(end - start for start, end in long) <= MAXIMUM_UTTERANCE_SECONDS
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(long))


def test_speech_up_to_the_last_frame_is_not_lost(recognizer, speech):
    frame = 960
    whole = speech[: len(speech) // frame * frame]
    assert "afternoon" in recognizer.text(whole)
