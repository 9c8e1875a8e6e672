"""ES384 (RFC 7518 section 3.4): ECDSA over P-384 with SHA-384, signatures as r and s of 48 bytes each."""

from __future__ import annotations

from typing import Final, Self, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput
from cloister.secret import SecretBytes

PUBLIC_SIZE: Final = 96  # bytes: x and y
SIGNATURE_SIZE: Final = 96  # bytes: r and s
_PART: Final = 48
_UNCOMPRESSED: Final = b"\x04"  # SEC 1 section 2.3.3
_ALGORITHM: Final = ec.ECDSA(hashes.SHA384())


@final
class Es384Key:
    """A P-384 private key."""

    __slots__ = ("_key", "public")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        self._key = key
        self.public: bytes = point[1:]  # x and y, 96 bytes

    @classmethod
    def generate(cls) -> Self:
        """A fresh key, drawn by pyca."""
        return cls(ec.generate_private_key(ec.SECP384R1()))

    @classmethod
    def from_der(cls, data: SecretBytes) -> Self:
        """The key in unencrypted PKCS #8 (RFC 5958), DER.

        Raises:
            MalformedInput: it holds no P-384 key.
        """
        try:
            key = serialization.load_der_private_key(data.reveal(), None)
        except (ValueError, TypeError) as error:
            raise MalformedInput("not a private key in PKCS #8") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
            raise MalformedInput("not a P-384 key")
        return cls(key)

    def to_der(self) -> SecretBytes:
        """The key in unencrypted PKCS #8, DER."""
        encoding, container = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
        return SecretBytes(self._key.private_bytes(encoding, container, serialization.NoEncryption()))

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, 96 bytes."""
        r, s = decode_dss_signature(self._key.sign(message, _ALGORITHM))
        return r.to_bytes(_PART, "big") + s.to_bytes(_PART, "big")

    def __repr__(self) -> str:
        return f"<Es384Key of {self.public.hex()[:16]}…>"


def check_es384(public: bytes, signature: bytes, message: bytes) -> None:
    """Check `signature` over `message` by the key whose x and y are `public`.

    Raises:
        BadSignature: it does not hold, a size is wrong, or the point is not on the curve.
    """
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:
        raise BadSignature("an ES384 public key has 96 bytes and a signature 96")
    r, s = int.from_bytes(signature[:_PART], "big"), int.from_bytes(signature[_PART:], "big")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), _UNCOMPRESSED + public)
        key.verify(encode_dss_signature(r, s), message, _ALGORITHM)
    except (InvalidSignature, ValueError) as error:
        raise BadSignature(f"the signature by {public.hex()[:16]}… does not hold") from error
