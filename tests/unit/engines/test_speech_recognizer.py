import itertools

import pytest
from tests.speech import SENTENCES, spoken, word_error_rate

from cloister.engines import speech_utterances
from cloister.engines.speech_audio import Audio
from cloister.engines.speech_recognizer import Recognizer
from cloister.engines.speech_utterances import utterances

SECOND = 32_000  # bytes


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer()


def pcm_of(text, voice, folder):
    return b"".join(Audio(memoryview(spoken(text, voice, folder))).pieces())


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return pcm_of(SENTENCES[0], "kal16", tmp_path_factory.mktemp("speech"))


def pieces(pcm, size=SECOND // 4):
    return (pcm[start : start + size] for start in range(0, len(pcm), size))


def text(recognizer, pcm):
    return " ".join(segment.text for segment in recognizer.segments(pieces(pcm)))


@pytest.mark.parametrize("pcm", [b"", b"\x00", bytes(2 * SECOND), bytes(10 * SECOND)])
def test_silence_is_heard_as_nothing(recognizer, pcm):
    assert list(recognizer.segments(pieces(pcm))) == []


def test_a_call_hears_the_same_whatever_was_heard_before(recognizer, speech):
    first = text(recognizer, speech)
    text(recognizer, bytes(len(speech)))
    text(recognizer, speech[::2] + b"\x00" * (len(speech[::2]) % 2))
    assert "weather is cold" in first
    assert text(recognizer, speech) == first


def test_what_is_heard_does_not_depend_on_how_the_audio_is_cut_into_pieces(recognizer, speech):
    pcm = speech + bytes(SECOND) + speech
    text(recognizer, pcm)  # the decoder carries a little from one call to the next, so that comes first for all
    of_pieces = [list(recognizer.segments(pieces(pcm, size))) for size in (len(pcm), SECOND, 1000)]
    assert of_pieces[0] == of_pieces[1] == of_pieces[2]


def test_words_have_times_that_grow_and_lie_where_they_were_spoken(recognizer, speech):
    (segment,) = recognizer.segments(pieces(bytes(2 * SECOND) + speech))
    times = [time for word in segment.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 2 <= segment.start < 2.6
    assert 1.5 < segment.end - segment.start < len(speech) / SECOND
    assert [word.text for word in segment.words][:3] == ["the", "weather", "is"]
    assert all(0 < word.confidence <= 1 for word in segment.words)
    assert 0 < segment.quiet < 0.6


def test_utterances_are_cut_out_of_silence_with_a_margin_and_bounded(speech):
    silence = bytes(2 * SECOND)
    (one,) = utterances(pieces(silence + speech + silence))
    assert 1.4 < one.start < 2.3
    assert one.start + len(one.pcm) / SECOND < 4 + len(speech) / SECOND
    long = list(utterances(pieces(speech * 20)))
    assert max(len(one.pcm) for one in long) <= speech_utterances.MAXIMUM_SECONDS * SECOND
    assert all(one.start + len(one.pcm) / SECOND <= two.start for one, two in itertools.pairwise(long))


def test_an_utterance_is_known_before_the_audio_after_it_came(speech):
    asked = []

    def audio():
        for number, piece in enumerate(pieces(speech + bytes(20 * SECOND))):
            asked.append(number)
            yield piece

    next(iter(utterances(audio())))
    assert len(asked) * SECOND / 4 < len(speech) + 2 * SECOND


def test_a_long_speech_is_heard_in_parts_at_its_pauses_and_as_well_as_in_one(recognizer, tmp_path):
    said = " ".join(SENTENCES[:6])
    pcm = pcm_of(said, "slt", tmp_path)
    segments = list(recognizer.segments(pieces(pcm)))
    assert len(segments) >= 2
    assert max(segment.end - segment.start for segment in segments) < 15
    assert word_error_rate([said], [" ".join(segment.text for segment in segments)]) <= 0.1


def test_speech_up_to_the_last_frame_is_not_lost(recognizer, speech):
    frame = 960
    whole = speech[: len(speech) // frame * frame]
    assert "afternoon" in text(recognizer, whole)
