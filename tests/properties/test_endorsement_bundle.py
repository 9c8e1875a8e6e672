"""Any bytes to the parsers of bundles and of a store's files parse or are malformed; what parses has one encoding."""

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.attest.endorsements import describe
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.endorsement_bundle import (
    MAXIMUM_BUNDLE,
    MAXIMUM_KEPT,
    EndorsementBundle,
    encode_file,
    kind_of,
    parse_bundle,
    parse_file,
)
from cloister.testing.made_endorsements import MadeVendors

ALL = MadeVendors(1_800_000_000).all()
BUNDLE = canonical.encode(EndorsementBundle(kept=tuple(ALL)))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("parse", [parse_bundle, parse_file], ids=lambda parse: parse.__name__)
@given(data=st.binary(max_size=300) | values.map(cbor2.dumps))
def test_any_bytes_parse_or_are_malformed(parse, data):
    with pytest.raises((MalformedInput, TooLarge)):
        parse(data)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(BUNDLE) - 1), bit=st.integers(0, 7))
def test_a_bundle_with_one_bit_changed_is_malformed_or_describes_itself(at, bit):
    data = bytearray(BUNDLE)
    data[at] ^= 1 << bit
    try:
        found = parse_bundle(bytes(data))
        assert canonical.encode(found) == data
        for kept in found.kept:
            describe(kept)
    except (MalformedInput, TooLarge):
        return


@pytest.mark.parametrize("kept", ALL[:8], ids=kind_of)
def test_a_file_holds_what_was_written(kept):
    assert parse_file(encode_file(kept)) == kept


@pytest.mark.parametrize("kept", ALL[:8], ids=kind_of)
def test_a_bundle_holds_what_was_put_in(kept):
    assert parse_bundle(canonical.encode(EndorsementBundle(kept=(kept,)))).kept == (kept,)


def test_nothing_over_the_caps_is_parsed():
    with pytest.raises(TooLarge):
        parse_bundle(bytes(MAXIMUM_BUNDLE + 1))
    with pytest.raises(TooLarge):
        parse_file(bytes(MAXIMUM_KEPT + 1))


def test_one_thing_twice_and_an_empty_bundle_are_malformed():
    for kept in ((ALL[0], ALL[0]), ()):
        with pytest.raises(MalformedInput):
            parse_bundle(canonical.encode(EndorsementBundle(kept=kept)))


def test_another_version_is_malformed():
    with pytest.raises(MalformedInput):
        parse_bundle(cbor2.dumps(cbor2.loads(BUNDLE) | {"version": 2}, canonical=True))
