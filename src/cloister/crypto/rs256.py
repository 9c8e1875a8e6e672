"""RS256 (RFC 7518 section 3.3): RSASSA-PKCS1-v1_5 with SHA-256, of other makers' tokens: checked, and never signed."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from cloister.crypto.signing import BadSignature

_SIZES: Final = range(2048, 4097)  # bits; a longer key takes milliseconds
_EXPONENT: Final = 65537


def check_rs256(public: bytes, signature: bytes, message: bytes) -> None:
    """Check `signature` over `message` by the RSA key `public`, a SubjectPublicKeyInfo in DER.

    Raises:
        BadSignature: it does not hold, or the key is none of 2,048 to 4,096 bits with the exponent 65537.
    """
    try:
        key = serialization.load_der_public_key(public)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadSignature("the key is no SubjectPublicKeyInfo") from error
    if not isinstance(key, RSAPublicKey) or key.key_size not in _SIZES or key.public_numbers().e != _EXPONENT:
        raise BadSignature(f"RS256 takes an RSA key of 2,048 to 4,096 bits with {_EXPONENT}")
    try:
        key.verify(signature, message, PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise BadSignature("the signature does not hold") from error
