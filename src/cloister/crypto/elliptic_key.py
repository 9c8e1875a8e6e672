"""Keys on P-256 and P-384 in PEM, as model-signing and cosign keep them; ECDSA signatures in DER."""

from __future__ import annotations

import hashlib
from typing import Final, Self, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput
from cloister.secret import SecretBytes

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}


@final
class EllipticPublicKey:
    """The public half."""

    __slots__ = ("_key",)

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        if key.curve.name not in _HASHES:
            raise MalformedInput(f"a key on {key.curve.name}: those on P-256 and P-384 are taken")
        self._key = key

    @classmethod
    def from_pem(cls, data: bytes) -> Self:
        """The key in a SubjectPublicKeyInfo, PEM.

        Raises:
            MalformedInput: it holds no key on P-256 or P-384.
        """
        try:
            key = load_pem_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedInput("not a public key in PEM") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise MalformedInput("not an elliptic key: those on P-256 and P-384 are taken")
        return cls(key)

    def pem(self) -> bytes:
        """The SubjectPublicKeyInfo, PEM."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the PEM, 32 bytes: how a Sigstore bundle of model-signing hints at the key."""
        return hashlib.sha256(self.pem()).digest()

    def check(self, signature: bytes, message: bytes) -> None:
        """Check a signature over `message`.

        Raises:
            BadSignature: it does not hold.
        """
        try:
            self._key.verify(signature, message, ec.ECDSA(_HASHES[self._key.curve.name]))
        except InvalidSignature as error:
            raise BadSignature(f"the signature by {self.fingerprint.hex()[:16]}… does not hold") from error


@final
class EllipticKey:
    """The private half."""

    __slots__ = ("_key", "public")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self.public = EllipticPublicKey(key.public_key())
        self._key = key

    @classmethod
    def from_pem(cls, data: SecretBytes) -> Self:
        """The key in PEM, not encrypted.

        Raises:
            MalformedInput: it holds no key on P-256 or P-384.
        """
        try:
            key = load_pem_private_key(data.reveal(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedInput("not a private key in PEM without a password") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise MalformedInput("not an elliptic key: those on P-256 and P-384 are taken")
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, DER."""
        return self._key.sign(message, ec.ECDSA(_HASHES[self._key.curve.name]))

    def __repr__(self) -> str:
        return f"<EllipticKey of {self.public.fingerprint.hex()[:16]}…>"
