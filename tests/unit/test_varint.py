"""QUIC's variable-length integers against RFC 9000's samples."""

import json
from pathlib import Path

import pytest

from cloister.errors import MalformedInput, UsageError
from cloister.formats import varint

SAMPLES = json.loads((Path(__file__).parents[1] / "vectors" / "rfc9000_varint.json").read_text())


@pytest.mark.parametrize(("encoded", "value"), SAMPLES["integers"].items())
def test_the_rfcs_samples_are_read_and_written(encoded, value):
    data = bytes.fromhex(encoded)
    assert varint.encode(value) == data
    assert varint.decode(b"." + data + b".", 1) == (value, 1 + len(data))


def test_a_longer_encoding_than_needed_is_the_same_integer():
    [(encoded, value)] = SAMPLES["longer than needed"].items()
    assert varint.decode(bytes.fromhex(encoded), 0) == (value, 2)


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 1), (63, 1), (64, 2), (16383, 2), (16384, 4), (2**30 - 1, 4), (2**30, 8), (2**62 - 1, 8)],
)
def test_each_size_ends_where_the_next_begins(value, size):
    assert len(varint.encode(value)) == size
    assert varint.decode(varint.encode(value), 0) == (value, size)


@pytest.mark.parametrize("value", [-1, 2**62])
def test_an_integer_out_of_range_has_no_encoding(value):
    with pytest.raises(UsageError):
        varint.encode(value)


@pytest.mark.parametrize("data", ["", "40", "9d7f3e", "c2197c5eff14e8"])
def test_an_integer_that_is_cut_short_is_malformed(data):
    with pytest.raises(MalformedInput):
        varint.decode(bytes.fromhex(data), 0)
