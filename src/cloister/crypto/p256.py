"""ECDSA on P-256 with SHA-256 (FIPS 186-5): keys that TLS and X.509 speak everywhere."""

from __future__ import annotations

from typing import Final, Self, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput

SPKI_SIZE: Final = 91  # bytes of a SubjectPublicKeyInfo with an uncompressed point, DER
SEED_SIZE: Final = 40  # bytes: the order's 256 bits and 64 more
_ORDER: Final = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551


@final
class P256Key:
    """A private key. Its `repr` says only that it is one."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        """`private` is on P-256; `generate` and `from_seed` make one."""
        self.private = private

    @classmethod
    def generate(cls) -> Self:
        """A fresh key, drawn by pyca."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Always the same key of the same 40 uniform bytes: "d = (c mod (n - 1)) + 1" (FIPS 186-5, A.2.1)."""
        if len(seed) != SEED_SIZE:
            raise ValueError(f"a seed has {SEED_SIZE} bytes")
        number = int.from_bytes(seed, "big") % (_ORDER - 1) + 1
        return cls(ec.derive_private_key(number, ec.SECP256R1()))

    @property
    def public(self) -> bytes:
        """The SubjectPublicKeyInfo in DER, 91 bytes."""
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        """The signature in DER."""
        return self.private.sign(data, ec.ECDSA(SHA256()))

    def pem(self) -> bytes:
        """The private key as PKCS #8 in PEM, not encrypted: for memory that nothing writes to a disk."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:
        return "<P256Key>"


def check_p256_signature(public: bytes, signature: bytes, data: bytes) -> None:
    """Check a signature in DER by the key in this SubjectPublicKeyInfo.

    Raises:
        MalformedInput: it is no P-256 key in its usual encoding.
        BadSignature: the signature does not hold.
    """
    key = read_p256(public)
    try:
        key.verify(signature, data, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise BadSignature("the signature does not hold") from error


def read_p256(public: bytes) -> ec.EllipticCurvePublicKey:
    """The key in a SubjectPublicKeyInfo, in the one encoding that this system writes.

    Raises:
        MalformedInput: it is no P-256 key with an uncompressed point, in DER.
    """
    try:
        key = load_der_public_key(public)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedInput("is no public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MalformedInput("is no P-256 key")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        raise MalformedInput("is another encoding of a P-256 key than DER with an uncompressed point")
    return key
