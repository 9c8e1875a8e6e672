"""Ed25519 signatures (RFC 8032): keys of nodes, parties, logs and witnesses."""

from __future__ import annotations

from functools import lru_cache
from typing import Self, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cloister.errors import CloisterError
from cloister.secret import SecretBytes

PUBLIC_SIZE = 32  # bytes
SIGNATURE_SIZE = 64  # bytes


class BadSignature(CloisterError):
    """A signature does not hold, or is not one."""

    exit_code = 3
    status = 403


@final
class SigningKey:
    """An Ed25519 private key."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()  # 32 bytes

    @classmethod
    def generate(cls) -> Self:
        """A fresh key, drawn by pyca."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: SecretBytes) -> Self:
        """The key of a 32-byte seed (RFC 8032 section 5.1.5).

        Raises:
            ValueError: another length.
        """
        return cls(Ed25519PrivateKey.from_private_bytes(seed.reveal()))

    @property
    def seed(self) -> SecretBytes:
        """The 32-byte seed."""
        return SecretBytes(self._key.private_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, 64 bytes."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"<SigningKey of {self.public.hex()[:16]}…>"


@lru_cache(maxsize=256)  # a twentieth of a verification, and a log's signers are few
def _public_key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


def check_signature(public: bytes, signature: bytes, message: bytes) -> None:
    """Check `signature` over `message` by the key whose public half is `public`.

    Raises:
        BadSignature: it does not hold, or a size is wrong.
    """
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
        raise BadSignature("an Ed25519 public key has 32 bytes and a signature 64")
    try:
        _public_key(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise BadSignature(f"the signature by {public.hex()[:16]}… does not hold") from error
