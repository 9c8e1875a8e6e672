"""Public keys of others, of the three kinds that sign what we take: Ed25519, P-256 and P-384."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput
from cloister.formats.foreign_cose import EDDSA, ES256, ES384, SIGNATURE_SIZES

_DIGESTS: Final[dict[int, hashes.HashAlgorithm]] = {ES256: hashes.SHA256(), ES384: hashes.SHA384()}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, and the one COSE algorithm that it checks."""

    algorithm: int
    key: Ed25519PublicKey | ec.EllipticCurvePublicKey

    @classmethod
    def parse_pem(cls, data: bytes) -> Self:
        """The key in a PEM file (SubjectPublicKeyInfo).

        Raises:
            MalformedInput: none, or of another kind: RSA, another curve.
        """
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise MalformedInput("not a public key in PEM") from error
        if isinstance(key, Ed25519PublicKey):
            return cls(EDDSA, key)
        if isinstance(key, ec.EllipticCurvePublicKey):
            algorithm = {"secp256r1": ES256, "secp384r1": ES384}.get(key.curve.name)
            if algorithm is not None:
                return cls(algorithm, key)
        raise MalformedInput("a public key of another kind than Ed25519, P-256 and P-384")

    @classmethod
    def of_ed25519(cls, public: bytes) -> Self:
        """The Ed25519 key of these 32 bytes.

        Raises:
            MalformedInput: they are none.
        """
        try:
            return cls(EDDSA, Ed25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise MalformedInput("an Ed25519 public key has 32 bytes") from error

    def check(self, algorithm: int, signature: bytes, message: bytes) -> None:
        """Check a COSE signature (RFC 9053 section 2) over `message`, which claims to be of `algorithm`.

        Raises:
            BadSignature: it does not hold, or is of another algorithm than the key's.
        """
        if algorithm != self.algorithm or len(signature) != SIGNATURE_SIZES[self.algorithm]:
            raise BadSignature(f"signed by algorithm {algorithm}, which is not the key's, {self.algorithm}")
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, message)
            else:
                self.key.verify(_der(signature), message, ec.ECDSA(_DIGESTS[self.algorithm]))
        except InvalidSignature as error:
            raise BadSignature("the signature does not hold") from error


def _der(signature: bytes) -> bytes:
    """R and s of equal length in DER."""
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
