"""DHKEM(X25519, HKDF-SHA256) and X-Wing against the vectors of RFC 9180 and draft-ietf-hpke-pq."""

import json

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cloister.crypto.kem import KemPrivateKey, OpenFailed, encapsulate, encapsulate_with
from cloister.errors import MalformedInput
from cloister.formats.hpke_suite import KEMS, X25519_HKDF_SHA256, X_WING
from cloister.secret import SecretBytes

LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]  # RFC 7748 section 6.1 has the check; the points are those of cr.yp.to/ecdh.html


def vectors(kem):
    names = {X25519_HKDF_SHA256: "HPKE/test-vectors.json", X_WING: "HPKE/hpke-pq-test-vectors.json"}
    with cryptography_vectors.open_vector_file(names[kem], "r") as file:
        return [case for case in json.load(file) if case["kem_id"] == kem and case["mode"] == 0]


def private_key(kem, secret):
    return KemPrivateKey.from_bytes(kem, SecretBytes(bytes.fromhex(secret)))


@pytest.mark.parametrize(("kem", "count"), [(X25519_HKDF_SHA256, 8), (X_WING, 2)])
def test_published_keys_and_encapsulations_give_the_published_secrets(kem, count):
    cases = vectors(kem)
    assert len(cases) == count
    for case in cases:
        key = private_key(kem, case["skRm"])
        assert key.public.hex() == case["pkRm"]
        assert key.decapsulate(bytes.fromhex(case["enc"])).hex() == case["shared_secret"]


def test_published_ephemeral_keys_give_the_published_encapsulations():
    for case in vectors(X25519_HKDF_SHA256):
        ephemeral = X25519PrivateKey.from_private_bytes(bytes.fromhex(case["skEm"]))
        secret, enc = encapsulate_with(ephemeral, X25519_HKDF_SHA256, bytes.fromhex(case["pkRm"]))
        assert (secret.hex(), enc.hex()) == (case["shared_secret"], case["enc"])


@pytest.mark.parametrize("kem", KEMS)
def test_a_fresh_key_decapsulates_what_was_encapsulated_to_it(kem):
    key = KemPrivateKey.generate(kem)
    secret, enc = encapsulate(kem, key.public)
    assert (len(key.secret), len(key.public), len(enc)) == KEMS[kem]
    assert KemPrivateKey.from_bytes(kem, key.secret).decapsulate(enc) == secret
    assert encapsulate(kem, key.public)[1] != enc


@pytest.mark.parametrize("kem", KEMS)
@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_points_are_refused_on_both_sides(kem, point):
    key = KemPrivateKey.generate(kem)
    _, enc = encapsulate(kem, key.public)
    with pytest.raises(OpenFailed):
        key.decapsulate(enc[:-32] + point)
    with pytest.raises(MalformedInput, match="not a usable public key"):
        encapsulate(kem, key.public[:-32] + point)


@pytest.mark.parametrize("kem", KEMS)
@pytest.mark.parametrize("change", [lambda enc: enc[:-1], lambda enc: enc + b"\0", lambda enc: b""])
def test_an_encapsulated_key_of_another_length_is_refused(kem, change):
    key = KemPrivateKey.generate(kem)
    _, enc = encapsulate(kem, key.public)
    with pytest.raises(OpenFailed, match="bytes"):
        key.decapsulate(change(enc))


def test_an_altered_x_wing_encapsulation_gives_another_secret():
    key = KemPrivateKey.generate(X_WING)
    secret, enc = encapsulate(X_WING, key.public)
    for at in (0, 1087, 1088):
        altered = enc[:at] + bytes([enc[at] ^ 1]) + enc[at + 1 :]
        assert key.decapsulate(altered) != secret


def test_a_public_key_whose_numbers_are_not_reduced_is_refused():
    with pytest.raises(MalformedInput, match="not a usable public key"):
        encapsulate(X_WING, b"\xff" * 1184 + KemPrivateKey.generate(X_WING).public[-32:])


@pytest.mark.parametrize("kem", KEMS)
def test_keys_of_another_length_are_refused(kem):
    with pytest.raises(MalformedInput, match="32 bytes"):
        KemPrivateKey.from_bytes(kem, SecretBytes(bytes(31)))
    with pytest.raises(MalformedInput, match="bytes, not 7"):
        encapsulate(kem, bytes(7))


def test_a_kem_that_is_not_ours_is_refused_by_name():
    with pytest.raises(MalformedInput, match="0x0010 is not supported"):
        KemPrivateKey.generate(0x0010)
    with pytest.raises(MalformedInput, match="0x0010 is not supported"):
        encapsulate(0x0010, bytes(65))


def test_a_private_key_shows_its_kem_and_nothing_else():
    assert repr(KemPrivateKey.generate(X_WING)) == "<KemPrivateKey, KEM 0x647a>"
