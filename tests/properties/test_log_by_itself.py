"""Any bytes are a proof or a statement of others, or malformed; what parses is written as it was read."""

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import MalformedInput
from cloister.formats.checkpoint import PUBLIC_SIZES, format_vkey, parse_vkey
from cloister.formats.foreign_cose import SIGNATURE_SIZES, parse_foreign_sign1
from cloister.formats.tlog_proof import HEAD, TlogProof, parse_tlog_proof

HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=63)
SIMPLE = st.one_of(st.integers(-(2**63), 2**63), st.binary(max_size=40), st.text(max_size=20), st.none())
HEADERS = st.dictionaries(st.one_of(st.integers(-300, 400), st.text(max_size=5)), SIMPLE, max_size=5)


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=300).map(lambda data: f"{HEAD}\nindex ".encode() + data)))
def test_any_bytes_are_a_proof_or_malformed(data):
    try:
        proof = parse_tlog_proof(data)
    except MalformedInput:
        return
    assert proof.encode() == data


@given(st.integers(0, 2**63 - 1), HASHES, st.binary(min_size=1, max_size=200), st.none() | st.binary(max_size=100))
def test_a_proof_is_read_back_as_it_was_written(index, path, checkpoint, extra):
    proof = TlogProof(index, tuple(path), checkpoint, extra)
    assert parse_tlog_proof(proof.encode()) == proof


@given(st.from_regex(r"\A[a-z./]{1,40}\Z"), st.sampled_from(sorted(PUBLIC_SIZES)), st.data())
def test_a_verifier_key_of_each_kind_is_read_back(name, kind, data):
    public = data.draw(st.binary(min_size=PUBLIC_SIZES[kind], max_size=PUBLIC_SIZES[kind]))
    key = parse_vkey(format_vkey(name, public, kind=kind))
    assert (key.name, key.kind, key.public) == (name, kind, public)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statement_of_others_or_malformed(data):
    try:
        parse_foreign_sign1(data, limit=1000)
    except MalformedInput:
        return
    assert data[0] >> 5 == 6


@given(HEADERS, st.sampled_from(sorted(SIGNATURE_SIZES)), st.none() | st.binary(max_size=50), SIMPLE)
def test_a_header_with_any_labels_that_are_not_critical_is_read_as_it_stands(header, algorithm, payload, unprotected):
    header = {label: value for label, value in header.items() if label not in (2, 4)} | {1: algorithm}
    protected = cbor2.dumps(header)
    parts = [protected, unprotected, payload, bytes(SIGNATURE_SIZES[algorithm])]
    message = parse_foreign_sign1(cbor2.dumps(cbor2.CBORTag(18, parts)), limit=10_000)
    assert (message.protected, message.algorithm, message.payload) == (protected, algorithm, payload)
