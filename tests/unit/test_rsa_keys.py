"""RSA keys from a seed are keys, are the same each time, and differ by their seed."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from cloister.testing.rsa_keys import made_rsa_key


def test_a_seed_makes_one_key_of_2048_bits():
    key = made_rsa_key("tpm attestation key")
    assert key.key_size == 2048
    numbers = key.private_numbers()
    made_rsa_key.cache_clear()
    assert made_rsa_key("tpm attestation key").private_numbers() == numbers
    digest = hashlib.sha256(numbers.public_numbers.n.to_bytes(256, "big")).hexdigest()
    assert digest.startswith("0bd05cbdccddf5b2")  # in every process


def test_it_signs_as_keys_do_and_another_seed_makes_another():
    key = made_rsa_key("tpm attestation key")
    key.public_key().verify(key.sign(b"x", padding.PKCS1v15(), SHA256()), b"x", padding.PKCS1v15(), SHA256())
    assert made_rsa_key("other attestation key").private_numbers() != key.private_numbers()
