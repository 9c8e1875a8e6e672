"""Words that a section gives the speech engine: any bytes are a vocabulary or none, and with one it hears more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.speech import spoken

from cloister.engines.speech import ears
from cloister.engines.speech_vocabulary import MAXIMUM_WORDS, Spoken, parse_vocabulary
from cloister.errors import MalformedInput

METOPROLOL = b"metoprolol M AH T OW P R AH L AO L"


def test_a_line_has_a_word_and_its_phones_and_the_rest_says_nothing():
    text = b"# medicines\n\nMetoprolol  M AH T OW P R AH L AO L  # a beta blocker\nx-ray EH K S R EY\n"
    phones = "M AH T OW P R AH L AO L"
    assert parse_vocabulary(text) == (Spoken("metoprolol", phones), Spoken("x-ray", "EH K S R EY"))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"word", "line 1 is not a word"),
        (b"\nword QQ", "line 2 is not a word"),
        (b"1st F ER S T", "line 1 is not a word"),
        (b"word AH0", "line 1 is not a word"),
        (b"\xff AH", "not UTF-8"),
        (b"a AH\n" * (MAXIMUM_WORDS + 1), "4097 words"),
    ],
    ids=["no phones", "no such phone", "no word", "stress", "not UTF-8", "too many"],
)
def test_what_is_no_vocabulary_is_refused_and_not_repeated(data, why):
    with pytest.raises(MalformedInput, match=why) as refused:
        parse_vocabulary(data)
    assert "word AH" not in str(refused.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_vocabulary_or_refused(data):
    try:
        for one in parse_vocabulary(data):
            assert one.word == one.word.lower()
            assert one.phones
    except MalformedInput:
        pass


def test_a_medicine_that_the_model_lacks_is_heard_once_its_owner_says_how_it_is_spoken(tmp_path):
    audio = memoryview(spoken("The doctor gave him metoprolol this morning.", "rms", tmp_path))
    without, having = ears(), ears(parse_vocabulary(METOPROLOL))
    assert "metoprolol" not in " ".join(segment.text for segment in without(audio))
    assert "him metoprolol this" in " ".join(segment.text for segment in having(audio))
