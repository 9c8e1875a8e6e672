"""COSE receipts: others' are judged as published, ours by others' code."""

import json
from pathlib import Path

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from cloister.crypto.merkle import BadProof, GrowingTree, consistency_path, inclusion_path, leaf_hash
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.formats.checkpoint import Checkpoint
from cloister.formats.cose_receipt import parse_receipt
from cloister.formats.cose_sign1 import sig_structure
from cloister.ledger.receipts import sign_consistency, sign_inclusion, verify_consistency, verify_inclusion

SHARED = Path("../shared/vectors/ledger/cose-receipts")
KEY = SigningKey.generate()
ENTRIES = [b"entry %d" % number for number in range(11)]
TREE = GrowingTree()
for entry in ENTRIES:
    TREE.append(leaf_hash(entry))
HEAD = Checkpoint("log.test/cloister", len(ENTRIES), TREE.root(len(ENTRIES)))


def included(index=4):
    return sign_inclusion(KEY, HEAD, index, inclusion_path(index, HEAD.size, TREE.subtree))


def grown(old=5):
    return sign_consistency(KEY, HEAD, old, consistency_path(old, HEAD.size, TREE.subtree))


def receipts(folder):
    return sorted((SHARED / folder).glob("*/receipt*.cose")) or [
        pytest.param(None, marks=pytest.mark.skip(reason=f"{SHARED} is not here"))
    ]


def ed25519(file):
    """The key in a PEM file, if it is one we take; receipts under others are refused by their algorithm."""
    key = load_pem_public_key(file.read_bytes())
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


@pytest.mark.parametrize("file", [*receipts("scitt-cose-v1"), *receipts("scitt-cose-receipt-v1")])
def test_published_receipts_are_judged_as_published_where_they_are_of_ed25519(file):
    expected = json.loads((file.parent / "expected.json").read_text())
    leaf = leaf_hash(bytes.fromhex(expected.get("leaf_entry", expected.get("leaf_entry_hex"))))
    # fail-eddsa-p256-key signs as EdDSA under a P-256 key: to us there is no such key.
    key = ed25519(file.parent / "log-key.pub") or bytes(32)
    receipt = file.read_bytes()
    algorithm = expected.get("alg") or expected["protected_header"]["receipt"]["alg"]
    if not expected.get("receipt_valid", expected.get("ok")) or algorithm != "EdDSA":
        # ES256, ES384 and other trees (CCF) are others' profiles: refused here, valid or not.
        with pytest.raises(CloisterError):
            verify_inclusion(receipt, leaf=leaf, log_key=key)
        return
    found = verify_inclusion(receipt, leaf=leaf, log_key=key)
    assert found.root.hex() == expected.get("root", expected.get("reconstructed_root"))
    assert (found.size, found.index) == (expected["tree_size"], expected["leaf_index"])


@pytest.mark.parametrize("name", ["inclusion-receipt", "consistency-receipt"])
def test_the_examples_of_the_draft_have_the_shape_that_we_read_and_write(name):
    """They are signed as ES256 by a key that was not published; with EdDSA in their header they parse."""
    file = SHARED / f"ietf-examples/{name}.cbor"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    with pytest.raises(MalformedInput, match="EdDSA"):
        parse_receipt(file.read_bytes())
    message = cbor2.loads(file.read_bytes())
    protected, *rest = message.value
    header = dict(cbor2.loads(protected)) | {1: -8}
    changed = cbor2.dumps(cbor2.CBORTag(18, [cbor2.dumps(header), *rest]), canonical=True)
    receipt = parse_receipt(changed)
    assert receipt.encode() == changed
    assert len(receipt.inclusion) + len(receipt.consistency) == 1
    ours = cbor2.loads(included() if receipt.inclusion else grown()).value
    assert set(cbor2.loads(ours[0])) == set(header)
    assert set(ours[1][396]) == set(rest[0][396])


@pytest.mark.parametrize("index", range(len(ENTRIES)))
def test_an_independent_verifier_accepts_our_receipts_and_finds_our_tree(index):
    pem = Ed25519PublicKey.from_public_bytes(KEY.public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    result = scitt_cose.verify_receipt(included(index), leaf_entry_hex=ENTRIES[index].hex(), log_public_key_pem=pem)
    assert result.ok, result.errors
    assert (result.root, result.tree_size, result.leaf_index) == (HEAD.root.hex(), HEAD.size, index)
    assert result.issuer == HEAD.origin
    other = scitt_cose.verify_receipt(included(index), leaf_entry_hex=b"other".hex(), log_public_key_pem=pem)
    assert not other.ok


@pytest.mark.parametrize("old", range(1, len(ENTRIES) + 1))
def test_an_independent_verifier_accepts_our_consistency_proofs(old):
    (proof,) = parse_receipt(grown(old)).consistency
    path = [node.hex() for node in proof.path]
    assert scitt_cose.verify_consistency(TREE.root(old).hex(), HEAD.root.hex(), old, HEAD.size, path)


def test_our_receipts_hold():
    assert verify_inclusion(included(), leaf=leaf_hash(ENTRIES[4]), log_key=KEY.public).index == 4
    found = verify_consistency(grown(), old_root=TREE.root(5), new_root=HEAD.root, log_key=KEY.public)
    assert (found.old_size, found.size) == (5, 11)


def test_another_leaf_key_or_root_is_refused():
    with pytest.raises(BadSignature):
        verify_inclusion(included(), leaf=leaf_hash(ENTRIES[5]), log_key=KEY.public)
    with pytest.raises(BadSignature):
        verify_inclusion(included(), leaf=leaf_hash(ENTRIES[4]), log_key=SigningKey.generate().public)
    with pytest.raises(BadSignature):
        verify_consistency(grown(), old_root=TREE.root(5), new_root=HEAD.root, log_key=SigningKey.generate().public)
    with pytest.raises(BadProof):
        verify_consistency(grown(), old_root=TREE.root(4), new_root=HEAD.root, log_key=KEY.public)


def test_a_receipt_of_one_kind_proves_nothing_of_the_other():
    with pytest.raises(MalformedInput, match="no inclusion"):
        verify_inclusion(grown(), leaf=leaf_hash(ENTRIES[4]), log_key=KEY.public)
    with pytest.raises(MalformedInput, match="no consistency"):
        verify_consistency(included(), old_root=TREE.root(5), new_root=HEAD.root, log_key=KEY.public)


@pytest.mark.parametrize("path", [(), (bytes(32),) * 5])
def test_a_path_of_another_length_is_refused(path):
    with pytest.raises(BadProof):
        verify_inclusion(sign_inclusion(KEY, HEAD, 4, path), leaf=leaf_hash(ENTRIES[4]), log_key=KEY.public)


def changed(*, tag=18, protected=None, unprotected=None, payload=None, signature=bytes(64)):
    header = cbor2.dumps({1: -8, 395: 1} if protected is None else protected)
    proofs = {396: {-1: [cbor2.dumps([1, 0, []])]}} if unprotected is None else unprotected
    return cbor2.dumps(cbor2.CBORTag(tag, [header, proofs, payload, signature]))


def proving(*proofs, kind=-1):
    return changed(unprotected={396: {kind: [cbor2.dumps(proof) for proof in proofs]}})


def test_the_shape_that_the_cases_below_change_is_a_receipt():
    assert parse_receipt(changed()).kid is None
    assert parse_receipt(changed(protected={395: 1, 1: -8, 4: b"key"})).kid == b"key"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        changed() + b"\0",
        changed(tag=17),
        cbor2.dumps(cbor2.CBORTag(18, [b"", {}, None])),
        changed(payload=bytes(32)),
        changed(signature=bytes(63)),
        changed(protected={1: -7, 395: 1}),
        changed(protected={1: -8.0, 395: 1}),
        changed(protected={1: -8}),
        changed(protected={1: -8, 395: 2}),
        changed(protected={1: -8, 395: True}),
        changed(protected={1: -8, 2: [4], 395: 1}),
        changed(protected={1: -8, 4: "key", 395: 1}),
        changed(protected=[]),
        changed(unprotected={}),
        changed(unprotected={396: {}}),
        changed(unprotected={396: {-3: []}}),
        changed(unprotected={396: {-1: 7}}),
        changed(unprotected={396: {-1: []}}),
        changed(unprotected={396: {-1: [7]}}),
        changed(unprotected={396: {-1: [cbor2.dumps([1, 0, []]) + b"\0"]}}),
        proving(*[[1, 0, []]] * 17),
        proving([1, 0]),
        proving([1, 1, []]),
        proving([0, 0, []]),
        proving([True, 0, []]),
        proving([1, -1, []]),
        proving([2**63, 0, []]),
        proving([1, 0, 7]),
        proving([1, 0, [bytes(31)]]),
        proving([1, 0, [bytes(32)] * 65]),
        proving([0, 1, []], kind=-2),
        proving([2, 1, []], kind=-2),
    ],
)
def test_other_receipts_are_malformed(data):
    with pytest.raises(MalformedInput):
        parse_receipt(data)


def test_no_proof_is_used_where_one_of_them_is_malformed():
    with pytest.raises(MalformedInput):
        parse_receipt(proving([1, 0, []], [0, 0, []]))


def test_an_attached_root_is_refused_though_its_signature_holds():
    header = cbor2.dumps({1: -8, 395: 1})
    root = leaf_hash(b"entry")
    signature = KEY.sign(sig_structure(header, root))
    with pytest.raises(MalformedInput, match="attached"):
        parse_receipt(changed(payload=root, signature=signature))
    assert verify_inclusion(changed(signature=signature), leaf=root, log_key=KEY.public).size == 1


def test_an_oversized_receipt_is_refused_unread():
    with pytest.raises(TooLarge):
        parse_receipt(bytes(65_536))
