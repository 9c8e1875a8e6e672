"""Shares of a secret: any M give it back, fewer or wrong ones are refused, and nothing wrong ever comes out."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.crypto.shares import SharesRefused, combine, split
from cloister.errors import UsageError
from cloister.secret import SecretBytes

SECRET = SecretBytes(bytes(range(32)))
VECTORS = json.loads(Path("tests/vectors/slip39.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"].partition(".")[0])
def test_the_published_vectors_of_slip_39_hold(vector):
    shares = [SecretBytes(words.encode()) for words in vector["shares"]]
    if vector["secret"]:
        assert combine(shares, passphrase=b"TREZOR").reveal().hex() == vector["secret"]
    else:
        with pytest.raises(SharesRefused):
            combine(shares, passphrase=b"TREZOR")


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (2, 3), (3, 5), (16, 16)])
def test_any_shares_of_the_threshold_give_the_secret(threshold, count):
    shares = split(SECRET, threshold=threshold, count=count)
    assert len(shares) == count
    for chosen in itertools.islice(itertools.combinations(shares, threshold), 5):
        assert combine(chosen) == SECRET


def test_one_share_too_few_is_refused():
    shares = split(SECRET, threshold=3, count=5)
    with pytest.raises(SharesRefused, match="2 shares give no secret"):
        combine(shares[:2])


def test_the_same_share_twice_counts_once():
    first, *_ = split(SECRET, threshold=2, count=3)
    with pytest.raises(SharesRefused):
        combine([first, first])


def test_shares_of_two_splits_do_not_go_together():
    first, second = (split(SECRET, threshold=2, count=2) for _ in range(2))
    with pytest.raises(SharesRefused):
        combine([first[0], second[1]])


@settings(max_examples=40)
@given(at=st.integers(0, 32), word=st.sampled_from(["academic", "zero", "acid", "nothing-of-the-list"]))
def test_a_share_with_another_word_is_refused_or_is_the_same_share(at, word):
    shares = split(SECRET, threshold=2, count=2)
    words = shares[0].reveal().decode().split(" ")
    same = words[at] == word
    altered = SecretBytes(" ".join([*words[:at], word, *words[at + 1 :]]).encode())
    if same:
        assert combine([altered, shares[1]]) == SECRET
    else:
        with pytest.raises(SharesRefused):
            combine([altered, shares[1]])


@given(st.lists(st.binary(max_size=80) | st.text("abc ").map(str.encode), max_size=3))
def test_what_are_no_shares_is_refused(made_up):
    with pytest.raises(SharesRefused):
        combine([SecretBytes(one) for one in made_up])


def test_a_refusal_tells_no_word_of_a_share():
    shares = split(SECRET, threshold=3, count=3)
    with pytest.raises(SharesRefused) as refused:
        combine(shares[:2])
    told = f"{refused.value} {refused.value.__cause__}"
    assert not set(shares[0].reveal().decode().split(" ")) & set(told.split())
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(("threshold", "count"), [(0, 1), (2, 1), (1, 17), (0, 0)])
def test_a_threshold_that_makes_no_sense_is_refused(threshold, count):
    with pytest.raises(UsageError):
        split(SECRET, threshold=threshold, count=count)


def test_only_32_bytes_are_shared():
    with pytest.raises(UsageError):
        split(SecretBytes(bytes(16)), threshold=1, count=1)
