"""Any bytes either parse as the ledger's formats or are refused by name; what parsed is written as it was read."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from cloister.crypto.merkle import (
    GrowingTree,
    check_consistency,
    check_inclusion,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root,
)
from cloister.errors import MalformedInput
from cloister.formats.add_checkpoint import parse_add_checkpoint
from cloister.formats.checkpoint import parse_checkpoint, parse_note, parse_signature_lines, parse_vkey
from cloister.formats.cose_receipt import parse_receipt

encoded = st.binary(max_size=80).map(lambda value: base64.b64encode(value).decode())
names = st.text(min_size=1, max_size=12) | st.sampled_from(["log.test", "witness.test"])
lines = st.builds(lambda name, value: f"\u2014 {name} {value}\n", names, encoded)
notes = st.builds(
    lambda text, signed: f"{text}\n\n{''.join(signed)}", st.text(max_size=80), st.lists(lines, max_size=4)
)
bodies = st.builds(
    lambda origin, size, value: f"{origin}\n{size}\n{value}\n", names, st.integers(-1, 2**64), encoded
) | st.text(max_size=80)
paths = st.lists(st.binary(min_size=31, max_size=33), max_size=4).map(
    lambda path: "".join(base64.b64encode(node).decode() + "\n" for node in path)
)
requests = st.builds(
    lambda size, path, note: f"old {size}\n{path}\n{note}".encode(), st.integers(-1, 2**64), paths, st.text(max_size=20)
)


@given(st.binary(max_size=200) | notes.map(str.encode))
def test_any_bytes_are_a_note_or_malformed(data):
    try:
        note = parse_note(data)
    except MalformedInput:
        return
    assert parse_note(note.encode()) == note
    assert data.startswith(note.text.encode())


@given(bodies)
def test_any_text_is_a_checkpoint_or_malformed(text):
    try:
        checkpoint = parse_checkpoint(text)
    except MalformedInput:
        return
    assert checkpoint.text() == text


@given(st.binary(max_size=200) | st.lists(lines, max_size=4).map(lambda value: "".join(value).encode()))
def test_any_bytes_are_signature_lines_or_malformed(data):
    try:
        signatures = parse_signature_lines(data)
    except MalformedInput:
        return
    assert signatures


@given(st.text(max_size=120) | st.builds(lambda name, value: f"{name}+00000000+{value}", names, encoded))
def test_any_text_is_a_verifier_key_or_malformed(text):
    try:
        key = parse_vkey(text)
    except MalformedInput:
        return
    assert len(key.public) == 32


@given(st.binary(max_size=200) | requests)
def test_any_bytes_are_a_request_to_a_witness_or_malformed(data):
    try:
        request = parse_add_checkpoint(data)
    except MalformedInput:
        return
    assert request.encode() == data


@given(st.binary(max_size=300))
def test_any_bytes_are_a_receipt_or_malformed(data):
    try:
        receipt = parse_receipt(data)
    except MalformedInput:
        return
    assert parse_receipt(receipt.encode()) == receipt


@given(st.integers(1, 300), st.data())
def test_a_tree_that_grew_leaf_by_leaf_proves_every_size_of_its_past(size, data):
    leaves = [leaf_hash(number.to_bytes(2, "big")) for number in range(size)]
    tree = GrowingTree()
    for leaf in leaves:
        tree.append(leaf)
    past = data.draw(st.integers(1, size))
    assert tree.size == size
    assert tree.root(past) == root(leaves[:past])
    index = data.draw(st.integers(0, past - 1))
    check_inclusion(leaves[index], index, past, inclusion_path(index, past, tree.subtree), tree.root(past))
    path = consistency_path(past, size, tree.subtree)
    check_consistency(past, tree.root(past), size, tree.root(size), path)
