"""Sections: whatever their types allow comes back as it was; any bytes parse or are refused, and nothing is told."""

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.records import records
from tests.doubles.section_world import sample_section

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.section import Section, encode_section, parse_section
from cloister.secret import SecretBytes

ENCODED = encode_section(sample_section("workload")).reveal()


@settings(max_examples=50)
@given(section=records(Section))
def test_what_its_types_allow_comes_back_as_it_was(section):
    assert parse_section(encode_section(section)) == section


@settings(max_examples=100)
@given(bit=st.integers(0, 8 * len(ENCODED) - 1))
def test_a_flipped_bit_is_refused_or_read_as_something_else(bit):
    flipped = bytearray(ENCODED)
    flipped[bit // 8] ^= 1 << bit % 8
    told: list[object] = []
    try:
        told.append(parse_section(SecretBytes(bytes(flipped))))
    except (MalformedInput, TooLarge) as error:
        told.append(error)
    assert told != [sample_section("workload")]
    assert "token of" not in repr(told)


@given(data=st.binary(max_size=300))
def test_any_bytes_parse_or_are_refused(data):
    with pytest.raises((MalformedInput, TooLarge)):
        parse_section(SecretBytes(data))


def test_a_field_more_is_refused():
    value = canonical.plain(ENCODED, limit=10_000)
    with pytest.raises(MalformedInput):
        parse_section(SecretBytes(cbor2.dumps(value | {"zzz": 1}, canonical=True)))
