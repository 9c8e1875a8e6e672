"""Padmé lengths against the formula of the paper's algorithm 1 in its own words, and the bound it proves."""

from math import floor, log2

import pytest

from cloister.errors import TooLarge
from cloister.ohttp.padding import (
    ANSWER_FLOOR,
    STRICT_LARGEST,
    pad,
    padded_answer_length,
    padded_length,
    strict_length,
)


def algorithm_1(length):
    """The paper's lines, with its floating logarithms."""
    exponent = floor(log2(length))
    bits = floor(log2(exponent)) + 1
    mask = 2 ** (exponent - bits) - 1
    return (length + mask) & ~mask


def test_lengths_are_those_of_the_papers_algorithm():
    for length in [*range(2, 5000), 2**20 - 1, 2**20 + 1, 26_214_400, 2**32 + 12345]:
        assert padded_length(length) == algorithm_1(length)


@pytest.mark.parametrize(("length", "padded"), [(0, 0), (1, 1), (8, 8), (9, 10), (100, 104), (1000, 1024)])
def test_small_lengths_by_hand(length, padded):
    assert padded_length(length) == padded


def test_padding_adds_at_most_12_percent_and_leaves_few_lengths():
    padded = {length: padded_length(length) for length in range(1, 100_000)}
    assert all(length <= size <= 1.12 * length for length, size in padded.items())
    assert all(padded_length(size) == size for size in padded.values())
    assert len({size for size in padded.values() if 2**15 < size <= 2**16}) == 16


def test_a_message_is_padded_with_zeros():
    assert pad(b"x" * 9) == b"x" * 9 + b"\0"
    assert pad(b"") == b""


def test_answers_have_a_floor():
    assert {padded_answer_length(length) for length in range(ANSWER_FLOOR + 1)} == {ANSWER_FLOOR}
    assert padded_answer_length(5000) == padded_length(5000)


def test_under_strict_privacy_lengths_are_powers_of_two_and_the_largest():
    assert [strict_length(length) for length in (0, 1, 16_384, 16_385, 65_536, 65_537, 16 * 2**20)] == [
        16_384,
        16_384,
        16_384,
        32_768,
        65_536,
        131_072,
        16 * 2**20,
    ]
    assert strict_length(16 * 2**20 + 1) == strict_length(STRICT_LARGEST) == 28 * 2**20


def test_what_is_over_the_largest_length_does_not_go():
    with pytest.raises(TooLarge, match="under strict privacy"):
        strict_length(STRICT_LARGEST + 1)
