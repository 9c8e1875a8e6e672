"""COSE receipts: others' are read, ours judged by others' code. Published ones are in tests/vectors/ledger."""

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloister.crypto.merkle import BadProof, GrowingTree, consistency_path, inclusion_path, leaf_hash
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.crypto.verification_key import VerificationKey
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import Checkpoint
from cloister.formats.cose_receipt import parse_receipt
from cloister.formats.cose_sign1 import sig_structure
from cloister.ledger.receipts import sign_consistency, sign_inclusion, verify_consistency, verify_inclusion

KEY = SigningKey.generate()
LOG_KEY = VerificationKey.of_ed25519(KEY.public)
STRANGER = VerificationKey.of_ed25519(SigningKey.generate().public)
ENTRIES = [b"entry %d" % number for number in range(11)]
TREE = GrowingTree()
for entry in ENTRIES:
    TREE.append(leaf_hash(entry))
HEAD = Checkpoint("log.test/cloister", len(ENTRIES), TREE.root(len(ENTRIES)))


def included(index=4):
    return sign_inclusion(KEY, HEAD, index, inclusion_path(index, HEAD.size, TREE.subtree))


def grown(old=5):
    return sign_consistency(KEY, HEAD, old, consistency_path(old, HEAD.size, TREE.subtree))


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
    assert verify_inclusion(included(), leaf=leaf_hash(ENTRIES[4]), log_key=LOG_KEY).index == 4
    found = verify_consistency(grown(), old_root=TREE.root(5), new_root=HEAD.root, log_key=LOG_KEY)
    assert (found.old_size, found.size) == (5, 11)


def test_another_leaf_key_or_root_is_refused():
    with pytest.raises(BadSignature):
        verify_inclusion(included(), leaf=leaf_hash(ENTRIES[5]), log_key=LOG_KEY)
    with pytest.raises(BadSignature):
        verify_inclusion(included(), leaf=leaf_hash(ENTRIES[4]), log_key=STRANGER)
    with pytest.raises(BadSignature):
        verify_consistency(
            grown(),
            old_root=TREE.root(5),
            new_root=HEAD.root,
            log_key=STRANGER,
        )
    with pytest.raises(BadProof):
        verify_consistency(grown(), old_root=TREE.root(4), new_root=HEAD.root, log_key=LOG_KEY)


def test_a_receipt_of_one_kind_proves_nothing_of_the_other():
    with pytest.raises(MalformedInput, match="no inclusion"):
        verify_inclusion(grown(), leaf=leaf_hash(ENTRIES[4]), log_key=LOG_KEY)
    with pytest.raises(MalformedInput, match="no consistency"):
        verify_consistency(included(), old_root=TREE.root(5), new_root=HEAD.root, log_key=LOG_KEY)


@pytest.mark.parametrize("path", [(), (bytes(32),) * 5])
def test_a_path_of_another_length_is_refused(path):
    with pytest.raises(BadProof):
        verify_inclusion(sign_inclusion(KEY, HEAD, 4, path), leaf=leaf_hash(ENTRIES[4]), log_key=LOG_KEY)


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
        changed(protected={1: -36, 395: 1}),
        changed(protected={1: -35, 395: 1}),
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
    assert verify_inclusion(changed(signature=signature), leaf=root, log_key=LOG_KEY).size == 1


def test_an_oversized_receipt_is_refused_unread():
    with pytest.raises(TooLarge):
        parse_receipt(bytes(65_536))


def ecdsa(curve, digest):
    """A key as others' logs have it, and how it signs for COSE."""
    key = ec.generate_private_key(curve)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    half = (curve.key_size + 7) // 8

    def sign(message):
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")

    return VerificationKey.parse_pem(pem), sign


ES256_KEY, sign_es256 = ecdsa(ec.SECP256R1(), hashes.SHA256())
ES384_KEY, sign_es384 = ecdsa(ec.SECP384R1(), hashes.SHA384())


def others(algorithm, sign):
    header = cbor2.dumps({1: algorithm, 395: 1})
    return changed(protected={1: algorithm, 395: 1}, signature=sign(sig_structure(header, leaf_hash(b"a"))))


@pytest.mark.parametrize(("algorithm", "key", "sign"), [(-7, ES256_KEY, sign_es256), (-35, ES384_KEY, sign_es384)])
def test_receipts_of_others_logs_hold_under_their_own_algorithm_alone(algorithm, key, sign):
    receipt = others(algorithm, sign)
    assert verify_inclusion(receipt, leaf=leaf_hash(b"a"), log_key=key).size == 1
    for other in [one for one in (ES256_KEY, ES384_KEY, LOG_KEY) if one is not key]:
        with pytest.raises(BadSignature):
            verify_inclusion(receipt, leaf=leaf_hash(b"a"), log_key=other)
    with pytest.raises(BadSignature):
        verify_inclusion(receipt, leaf=leaf_hash(b"b"), log_key=key)


def test_a_key_is_told_apart_from_its_algorithm():
    with pytest.raises(BadSignature, match="not the key's"):
        ES256_KEY.check(-8, bytes(64), b"")
    with pytest.raises(BadSignature, match="does not hold"):
        ES384_KEY.check(-35, bytes(96), b"")


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP521R1())], ids=["RSA", "P-521"]
)
def test_keys_of_other_kinds_are_malformed(key):
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (pem, b"", pem[:-40]):
        with pytest.raises(MalformedInput):
            VerificationKey.parse_pem(wrong)
    with pytest.raises(MalformedInput):
        VerificationKey.of_ed25519(bytes(31))
