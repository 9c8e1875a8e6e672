"""Chains and signatures as Intel uses them: two or three certificates in PEM, ECDSA P-256 as r and s.

Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, sections 1.3 and 2.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import MALFORMED, ChainRefused, name_of, parse_certificates
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput

ROOT_NAME: Final = "Intel SGX Root CA"
PCK_NAMES: Final = (
    ("Intel SGX PCK Certificate",),
    ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"),
    (ROOT_NAME,),
)
PCK_CA_NAMES: Final = PCK_NAMES[1:]
SIGNING_NAMES: Final = (("Intel SGX TCB Signing",), (ROOT_NAME,))
_SIZE: Final = 32  # bytes of a coordinate, or of r and s


def read_chain(pem: bytes, names: Sequence[Collection[str]]) -> tuple[x509.Certificate, ...]:
    """A chain in PEM whose certificates have these common names, its leaf first, its root last.

    One root stands above several kinds of certificates: without the names, a key that signs reports of quoting enclaves
    could sign TCB info.

    Raises:
        MalformedInput, TooLarge: not certificates in PEM as Intel writes them, or something stands between them.
        ChainRefused: other certificates than these.
    """
    data = pem.removesuffix(b"\0")
    chain = parse_certificates(data)
    if data not in _spellings(chain):
        raise MalformedInput("something stands between the certificates, which nobody signed")
    found = [name_of(one) for one in chain]
    if len(found) != len(names) or any(one not in allowed for one, allowed in zip(found, names, strict=True)):
        raise ChainRefused(f"a chain of {', '.join(found)}, not of {', '.join(' or '.join(one) for one in names)}")
    return chain


def _spellings(chain: Sequence[x509.Certificate]) -> tuple[bytes, bytes]:
    """The texts that a chain may have: lines end in one way throughout."""
    text = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
    return text, text.replace(b"\n", b"\r\n")


def key_of(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """Its P-256 key.

    Raises:
        ChainRefused: another kind of key.
    """
    try:
        key = certificate.public_key()
    except MALFORMED as error:
        raise ChainRefused(f"the key of {name_of(certificate)} is not one we know") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ChainRefused(f"the key of {name_of(certificate)} is not of P-256")
    return key


def raw_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key whose x and y these 64 bytes are.

    Raises:
        BadSignature: no point of the curve, so that nothing can be signed by it.
    """
    x, y = (int.from_bytes(data[at : at + _SIZE], "big") for at in (0, _SIZE))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise BadSignature("the attestation key is no point of P-256") from error


def verify(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes, what: str) -> None:
    """Whether `key` signed `data` (SHA-256); `signature` is r and s, 64 bytes.

    Raises:
        BadSignature: it did not; `what` begins the sentence.
    """
    r, s = (int.from_bytes(signature[at : at + _SIZE], "big") for at in (0, _SIZE))
    try:
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise BadSignature(f"{what} is not signed by the key that it names") from error
