"""The cryptography of IBM Hyper Protect's contracts, as openssl's commands do it, for import and export alone.

A section is AES-256-CBC under PBKDF2 of a password, the password RSA (PKCS #1 v1.5): classical, and **nothing in it is
authenticated**, so whoever carries a token can change what it decrypts to. Hence the signature over both tokens is
checked before anything is decrypted (`trust.hyper_protect`), and no key of ours is ever wrapped so.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from cloister.crypto.kem import OpenFailed
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput
from cloister.formats.hyper_protect import BLOCK, SALT_SIZE, EncryptedSection
from cloister.secret import SecretBytes

MAXIMUM_PEM: Final = 64 * 1024  # bytes
ITERATIONS: Final = 10_000  # what `openssl enc -pbkdf2` does
RSA_BITS: Final = range(2048, 8193)
_KEY: Final = 32  # bytes, AES-256
_SHA256: Final = hashes.SHA256()


def read_rsa_public(pem: bytes) -> RSAPublicKey:
    """The RSA key in PEM, bare or in a certificate, of 2,048 to 8,192 bits.

    A certificate says nothing here beyond its key: who is meant by it, the caller decides.

    Raises:
        MalformedInput: there is none.
    """
    try:
        if b"-----BEGIN CERTIFICATE-----" in pem[:MAXIMUM_PEM]:
            key: object = x509.load_pem_x509_certificate(pem[:MAXIMUM_PEM]).public_key()
        else:
            key = serialization.load_pem_public_key(pem[:MAXIMUM_PEM])
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedInput("not a public key or certificate in PEM") from error
    if not isinstance(key, RSAPublicKey) or key.key_size not in RSA_BITS:
        raise MalformedInput("the key is not RSA of 2,048 to 8,192 bits")
    return key


def read_rsa_private(pem: SecretBytes) -> RSAPrivateKey:
    """The unencrypted RSA private key in PEM, of 2,048 to 8,192 bits.

    Raises:
        MalformedInput: there is none.
    """
    try:
        key = serialization.load_pem_private_key(pem.reveal(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MalformedInput("not an unencrypted private key in PEM") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size not in RSA_BITS:
        raise MalformedInput("the key is not RSA of 2,048 to 8,192 bits")
    return key


def public_pem(key: RSAPublicKey) -> str:
    """A public key in PEM (SubjectPublicKeyInfo)."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form).decode()


def encrypt_section(plaintext: SecretBytes, to: RSAPublicKey) -> EncryptedSection:
    """Encrypt a section under a fresh password, which pyca draws.

    The password is text, since `openssl enc -pass stdin` ends one at a line feed or NUL.
    """
    password = base64.b64encode(AESGCM.generate_key(256))
    salt = AESGCM.generate_key(128)[:SALT_SIZE]
    padder = padding.PKCS7(8 * BLOCK).padder()
    encryptor = _cipher(password, salt).encryptor()
    padded = padder.update(plaintext.reveal()) + padder.finalize()
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    return EncryptedSection(to.encrypt(password, PKCS1v15()), salt, ciphertext)


def decrypt_section(section: EncryptedSection, key: RSAPrivateKey) -> SecretBytes:
    """Decrypt what somebody signed; without that nothing here would show that it was changed.

    Raises:
        OpenFailed: made for another key, or changed where it shows.
    """
    try:
        password = key.decrypt(section.password, PKCS1v15())
        password = password.split(b"\n", 1)[0].split(b"\0", 1)[0]  # what openssl makes of a password of raw bytes
        decryptor = _cipher(password, section.salt).decryptor()
        unpadder = padding.PKCS7(8 * BLOCK).unpadder()
        padded = decryptor.update(section.ciphertext) + decryptor.finalize()
        return SecretBytes(unpadder.update(padded) + unpadder.finalize())
    except ValueError:
        raise OpenFailed("the section does not open with this key") from None


def sign_tokens(workload: str, env: str, key: RSAPrivateKey) -> bytes:
    """`envWorkloadSignature`: over both tokens, the workload's first."""
    return key.sign((workload + env).encode(), PKCS1v15(), _SHA256)


def check_tokens(workload: str, env: str, signature: bytes, key: RSAPublicKey) -> None:
    """Check `envWorkloadSignature`.

    Raises:
        BadSignature: it does not hold.
    """
    try:
        key.verify(signature, (workload + env).encode(), PKCS1v15(), _SHA256)
    except InvalidSignature as error:
        raise BadSignature("the signature over workload and env does not hold by the signer's key") from error


def _cipher(password: bytes, salt: bytes) -> Cipher[modes.CBC]:
    derived = PBKDF2HMAC(_SHA256, _KEY + BLOCK, salt, ITERATIONS).derive(password)
    return Cipher(algorithms.AES(derived[:_KEY]), modes.CBC(derived[_KEY:]))
