"""Node manifests: whatever their types allow comes back as it was; any bytes parse or are refused."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.node_manifests import MANIFEST_FILE, sample_manifest, sample_state
from tests.doubles.records import records

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.deployment_state import parse_deployment_state
from cloister.formats.node_manifest import NodeManifest, parse_node_manifest, parse_sent_revisions
from cloister.formats.node_manifest_file import parse_manifest_file

STATE = msgspec.json.encode(sample_state())
ENCODED = canonical.encode(sample_manifest())


@settings(max_examples=50)
@given(manifest=records(NodeManifest))
def test_a_manifest_comes_back_as_it_was_or_is_refused_for_its_form(manifest):
    with contextlib.suppress(MalformedInput):
        assert parse_node_manifest(canonical.encode(manifest)) == manifest


@settings(max_examples=100)
@given(bit=st.integers(0, 8 * len(ENCODED) - 1))
def test_a_flipped_bit_is_refused_or_read_as_another_manifest(bit):
    flipped = bytearray(ENCODED)
    flipped[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(MalformedInput, TooLarge):
        assert parse_node_manifest(bytes(flipped)).digest() != sample_manifest().digest()


@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    for parse in (parse_node_manifest, parse_sent_revisions):
        with pytest.raises((MalformedInput, TooLarge)):
            parse(data)


@settings(max_examples=100)
@given(bit=st.integers(0, 8 * len(STATE) - 1))
def test_a_machines_word_of_itself_parses_or_is_refused(bit):
    flipped = bytearray(STATE)
    flipped[bit // 8] ^= 1 << bit % 8
    assert parse_deployment_state(STATE) == sample_state()
    with contextlib.suppress(MalformedInput, TooLarge):
        assert parse_deployment_state(bytes(flipped)) != sample_state()


@settings(max_examples=100)
@given(place=st.integers(0, len(MANIFEST_FILE)), text=st.text(max_size=8))
def test_any_text_in_a_file_parses_or_is_refused(place, text):
    with contextlib.suppress(MalformedInput, TooLarge):
        parse_manifest_file((MANIFEST_FILE[:place] + text + MANIFEST_FILE[place:]).encode(errors="replace"))
