"""HPKE contexts against RFC 9180's published vectors, and single-shot results against pyca's own HPKE both ways."""

import json
from hashlib import shake_256

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

from cloister.crypto.hpke import (
    X25519_HKDF_SHA256,
    X_WING,
    KemPrivateKey,
    OpenFailed,
    SenderContext,
    setup_recipient,
    setup_sender,
    unwrap,
    wrap,
)
from cloister.errors import UsageError
from cloister.formats.hpke_suite import KEMS
from cloister.secret import SecretBytes

NATIVE = {X25519_HKDF_SHA256: KEM.X25519, X_WING: KEM.MLKEM768_X25519}


def published():
    """RFC 9180 appendix A.1.1: base mode, X25519, HKDF-SHA256, AES-128-GCM."""
    with cryptography_vectors.open_vector_file("HPKE/test-vectors.json", "r") as file:
        [case] = [
            case
            for case in json.load(file)
            if (case["mode"], case["kem_id"], case["kdf_id"], case["aead_id"]) == (0, 0x0020, 1, 1)
        ]
    return case


def native(kem, key):
    """The same key for pyca's own HPKE, and its suite."""
    suite = Suite(NATIVE[kem], KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    if kem == X25519_HKDF_SHA256:
        return suite, X25519PrivateKey.from_private_bytes(key.secret.reveal())
    seeds = shake_256(key.secret.reveal()).digest(96)
    halves = MLKEM768PrivateKey.from_seed_bytes(seeds[:64]), X25519PrivateKey.from_private_bytes(seeds[64:])
    return suite, MLKEM768X25519PrivateKey(*halves)


def contexts(kem=X_WING, info=b"info"):
    key = KemPrivateKey.generate(kem)
    enc, sender = setup_sender(kem, key.public, info)
    return sender, setup_recipient(key, enc, info)


def test_a_recipient_opens_the_published_messages_in_order():
    case = published()
    key = KemPrivateKey.from_bytes(X25519_HKDF_SHA256, SecretBytes(bytes.fromhex(case["skRm"])))
    recipient = setup_recipient(key, bytes.fromhex(case["enc"]), bytes.fromhex(case["info"]))
    assert len(case["encryptions"]) == 257
    for message in case["encryptions"]:
        assert recipient.open(bytes.fromhex(message["aad"]), bytes.fromhex(message["ct"])).hex() == message["pt"]
    for export in case["exports"]:
        assert (
            recipient.export(bytes.fromhex(export["exporter_context"]), export["L"]).hex() == export["exported_value"]
        )


def test_a_sender_seals_the_published_messages_in_order():
    case = published()
    sender = SenderContext(X25519_HKDF_SHA256, bytes.fromhex(case["shared_secret"]), bytes.fromhex(case["info"]))
    for message in case["encryptions"]:
        assert sender.seal(bytes.fromhex(message["aad"]), bytes.fromhex(message["pt"])).hex() == message["ct"]
    for export in case["exports"]:
        assert sender.export(bytes.fromhex(export["exporter_context"]), export["L"]).hex() == export["exported_value"]


@pytest.mark.parametrize("kem", KEMS)
@pytest.mark.parametrize("plaintext", [b"", b"a key", bytes(100_000)])
def test_pyca_opens_what_we_seal_and_we_open_what_pyca_seals(kem, plaintext):
    key = KemPrivateKey.generate(kem)
    suite, theirs = native(kem, key)
    enc, sender = setup_sender(kem, key.public, b"info")
    assert suite.decrypt(enc + sender.seal(b"", plaintext), theirs, info=b"info") == plaintext
    sealed = suite.encrypt(plaintext, theirs.public_key(), info=b"info")
    recipient = setup_recipient(key, sealed[: KEMS[kem].enc], b"info")
    assert recipient.open(b"", sealed[KEMS[kem].enc :]) == plaintext


@pytest.mark.parametrize("length", [0, 1, 32, 33, 8160])
def test_both_sides_export_the_same_secret(length):
    sender, recipient = contexts()
    assert sender.export(b"context", length) == recipient.export(b"context", length)
    assert len(sender.export(b"context", length)) == length


@pytest.mark.parametrize("length", [-1, 8161, 70_000])
def test_an_export_length_out_of_range_is_refused(length):
    with pytest.raises(UsageError, match="0 to 8160"):
        contexts()[0].export(b"", length)


def test_a_message_out_of_order_does_not_open_and_does_not_disturb_the_order():
    sender, recipient = contexts()
    first, second = sender.seal(b"", b"first"), sender.seal(b"", b"second")
    with pytest.raises(OpenFailed):
        recipient.open(b"", second)
    assert [recipient.open(b"", first), recipient.open(b"", second)] == [b"first", b"second"]


@pytest.mark.parametrize("ciphertext", [b"", b"short", bytes(16), bytes(40)])
def test_bytes_that_nobody_sealed_do_not_open(ciphertext):
    with pytest.raises(OpenFailed):
        contexts()[1].open(b"", ciphertext)


def test_a_wrapped_key_is_what_pyca_reads_and_is_unwrapped_to_a_secret():
    key = KemPrivateKey.generate(X_WING)
    suite, theirs = native(X_WING, key)
    assert suite.decrypt(wrap(key.public, b"a key", info=b"release", aad=b""), theirs, info=b"release") == b"a key"
    wrapped = wrap(key.public, b"a key", info=b"release", aad=b"contract")
    assert len(wrapped) == 1120 + 5 + 16
    assert unwrap(key, wrapped, info=b"release", aad=b"contract") == SecretBytes(b"a key")


WRONG = {
    "another info": {"info": b"Release"},
    "another aad": {"aad": b"Contract"},
    "one bit of the encapsulated key": {"data": lambda data: bytes([data[0] ^ 1]) + data[1:]},
    "one bit of the tag": {"data": lambda data: data[:-1] + bytes([data[-1] ^ 1])},
    "cut short": {"data": lambda data: data[:-1]},
    "no message": {"data": lambda data: data[:1120]},
    "nothing": {"data": lambda data: b""},
    "another key": {"key": KemPrivateKey.generate(X_WING)},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_each_wrong_input_fails_to_unwrap(change):
    key = KemPrivateKey.generate(X_WING)
    data = wrap(key.public, b"a key", info=b"release", aad=b"contract")
    arguments = {"key": key, "info": b"release", "aad": b"contract", **change}
    arguments["data"] = change.get("data", lambda same: same)(data)
    with pytest.raises(OpenFailed):
        unwrap(arguments.pop("key"), arguments.pop("data"), **arguments)


def test_a_key_is_never_unwrapped_with_a_key_that_is_not_post_quantum():
    with pytest.raises(UsageError, match="X-Wing"):
        unwrap(KemPrivateKey.generate(X25519_HKDF_SHA256), bytes(2000), info=b"", aad=b"")
