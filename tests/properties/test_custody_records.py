"""Records of custody: whatever their types allow comes back as it was, and no flipped bit reads as the same."""

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.custody_records import SAMPLES
from tests.doubles.records import records

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical


def named(parse):
    return parse.__name__


@pytest.mark.parametrize("parse", SAMPLES, ids=named)
@settings(max_examples=20)
@given(data=st.data())
def test_what_its_types_allow_comes_back_as_it_was(parse, data):
    record = data.draw(records(type(SAMPLES[parse])))
    assert parse(canonical.encode(record)) == record


@pytest.mark.parametrize("parse", SAMPLES, ids=named)
@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_read_as_something_else(parse, data):
    encoded = bytearray(canonical.encode(SAMPLES[parse]))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        read = parse(bytes(encoded))
    except (MalformedInput, TooLarge):
        return
    assert read != SAMPLES[parse]


@pytest.mark.parametrize("parse", SAMPLES, ids=named)
def test_a_field_more_is_refused(parse):
    value = canonical.plain(canonical.encode(SAMPLES[parse]), limit=10_000)
    with pytest.raises(MalformedInput):
        parse(cbor2.dumps(value | {"zzz": 1}, canonical=True))


def test_no_value_is_printed():
    deposited = next(one for one in SAMPLES.values() if type(one).__name__ == "Deposited")
    assert repr(deposited) == "<Deposited, 5 bytes>"
    sealed = next(one for one in SAMPLES.values() if type(one).__name__ == "SealedRoots")
    assert "kkk" not in repr(sealed)
