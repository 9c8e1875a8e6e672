"""ML-DSA-44 (FIPS 204): signatures of witnesses that a quantum computer does not forge, as far as is known."""

from __future__ import annotations

from typing import Final, Self, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from cloister.crypto.signing import BadSignature
from cloister.secret import SecretBytes

PUBLIC_SIZE: Final = 1312  # bytes
SIGNATURE_SIZE: Final = 2420  # bytes


@final
class MlDsaKey:
    """An ML-DSA-44 private key."""

    __slots__ = ("_key", "public")

    def __init__(self, key: MLDSA44PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()  # 1,312 bytes

    @classmethod
    def generate(cls) -> Self:
        """A fresh key, drawn by pyca."""
        return cls(MLDSA44PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: SecretBytes) -> Self:
        """The key of a 32-byte seed (FIPS 204 section 5.1, ξ).

        Raises:
            ValueError: another length.
        """
        return cls(MLDSA44PrivateKey.from_seed_bytes(seed.reveal()))

    @property
    def seed(self) -> SecretBytes:
        """The 32-byte seed."""
        return SecretBytes(self._key.private_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The signature over `message` with the empty context, 2,420 bytes."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<MlDsaKey of {self.public.hex()[:16]}…>"


def check_ml_dsa_signature(public: bytes, signature: bytes, message: bytes) -> None:
    """Check `signature` over `message`, with the empty context, by the key whose public half is `public`.

    Raises:
        BadSignature: it does not hold, or a size is wrong.
    """
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
        raise BadSignature("an ML-DSA-44 public key has 1,312 bytes and a signature 2,420")
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise BadSignature(f"the ML-DSA-44 signature by {public.hex()[:16]}… does not hold") from error
