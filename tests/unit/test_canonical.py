"""What a reader of CBOR is never given: few bytes that become many items, keys that collide."""

from pathlib import Path

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.attestation_request import parse_attestation_request
from cloister.formats.cose_receipt import parse_receipt
from cloister.formats.evidence import parse_evidence
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.release import parse_release_request

LIMIT = 2**20
SHARED = bytes.fromhex("82d81c81010ad81d00")  # [28([1]), 10, 29(0)]: the first item again
keys = st.text(max_size=3) | st.binary(max_size=3) | st.integers(-(2**63), 2**64 - 1)
values = st.recursive(
    st.none() | st.booleans() | keys | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_plain_values_come_back(value):
    assert canonical.plain(cbor2.dumps(value, canonical=True), limit=LIMIT) == value


@pytest.mark.parametrize("tag", [0, 2, 3, 25, 28, 29, 30, 256, 258, 55799])
def test_a_tag_that_no_object_of_ours_has_is_not_read(tag):
    with pytest.raises(MalformedInput, match=f"tag {tag}"):
        canonical.plain(bytes([0xD9]) + tag.to_bytes(2, "big") + b"\x41\x01", limit=LIMIT)


def test_references_to_one_item_do_not_multiply_it():
    with pytest.raises(MalformedInput, match="tag 28"):
        canonical.plain(SHARED, limit=LIMIT)


@pytest.mark.parametrize("key", ["8101", "a10101", "d20a", "f5", "f93c00"])
def test_a_key_that_could_be_made_to_collide_is_not_read(key):
    with pytest.raises(MalformedInput, match="a key of a map"):
        canonical.plain(b"\xa1" + bytes.fromhex(key) + b"\x00", limit=LIMIT)


def test_values_may_be_what_keys_may_not():
    assert canonical.plain(bytes.fromhex("a1018101"), limit=LIMIT) == {1: [1]}


@pytest.mark.parametrize(("depth", "fits"), [(16, True), (17, False)])
def test_items_are_nested_so_deep_and_no_deeper(depth, fits):
    data = b"\x81" * depth + b"\x00"
    if fits:
        canonical.require_plain_items(data)
    else:
        with pytest.raises(MalformedInput, match="deeper than 16"):
            canonical.require_plain_items(data)


@pytest.mark.parametrize(
    ("data", "items"),
    [
        (b"\x83\0\0\0", 3),
        (b"\xa2\0\0\1\0", 4),
        (b"\x82\x81\0\x81\0", 4),
        (b"\xd2\x81\0", 2),
    ],
    ids=["an array", "a map", "arrays in one", "a tag"],
)
def test_more_items_than_a_record_has_are_not_read(data, items):
    """A megabyte of arrays that hold nothing took a second, before anybody asked what it is."""
    canonical.require_plain_items(data, items=items)
    with pytest.raises(MalformedInput, match="more items"):
        canonical.require_plain_items(data, items=items - 1)


@pytest.mark.parametrize("parse", [parse_evidence, parse_release_request, parse_attestation_request])
def test_what_says_that_it_has_more_items_is_refused_by_its_head(parse):
    with pytest.raises(MalformedInput, match="more items"):
        parse(b"\x9a\0\0\x10\1" + b"and what follows is not looked at")


@pytest.mark.parametrize("head", ["9f", "bf", "5f", "7f", "1c"])
def test_an_indefinite_length_is_not_read(head):
    with pytest.raises(MalformedInput, match="indefinite"):
        canonical.plain(bytes.fromhex(head) + b"\xff", limit=LIMIT)


@given(st.binary(max_size=100))
def test_any_bytes_are_looked_at_or_malformed(data):
    try:
        canonical.require_plain_items(data)
    except MalformedInput:
        return


def test_a_count_that_no_message_could_hold_costs_nothing():
    with pytest.raises(MalformedInput, match="more items"):
        canonical.plain(b"\x9b" + b"\xff" * 8 + b"\x01", limit=LIMIT)


@pytest.mark.parametrize("parse", [parse_receipt, parse_nitro_document])
def test_every_other_reader_of_cbor_refuses_them_too(parse):
    for data in (SHARED, b"\xd2\x84\x40\xa0" + SHARED[1:] + b"\x40"):
        with pytest.raises(MalformedInput):
            parse(data)


@pytest.mark.parametrize("payload", [SHARED, b"\xc2\x41\x01", b"\xd9\x04\x00\x00"])
def test_a_nitro_payload_holds_no_tags(payload):
    message = cbor2.dumps([bytes.fromhex("a1013822"), {}, payload, bytes(96)], canonical=True)
    with pytest.raises(MalformedInput, match=r"tag"):
        parse_nitro_document(message)


def test_a_name_with_another_line_behind_it_is_another_name_and_none():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("operator\n", canonical.Name)


def test_no_pattern_of_a_field_ends_before_a_line_feed():
    written = [text for module in Path("src/cloister").rglob("*.py") for text in module.read_text().splitlines()]
    patterns = [text for text in written if "Meta(" in text and "pattern=" in text]
    assert len(patterns) > 20
    assert not [text for text in patterns if "$" in text]  # which also matches before a line feed at the end
