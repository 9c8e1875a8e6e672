"""X.509 chains from a leaf to a pinned root, as far as vendors of hardware use them (RFC 5280 section 6.1).

A root is pinned by the SHA-256 of its public key (the DER of its SubjectPublicKeyInfo), so that whatever else a chain
brings along, its last certificate is one that was decided on beforehand. Time is an argument. What vendors put into
extensions of their own is read by the module of each platform.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from cloister.errors import CloisterError, MalformedInput, TooLarge

MAXIMUM_CERTIFICATE: Final = 16 * 1024  # bytes of one in DER
MAXIMUM_CHAIN: Final = 8  # certificates
MALFORMED: Final = (  # what pyca raises where it reads what is none
    ValueError,
    TypeError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
_PEM: Final = b"-----BEGIN CERTIFICATE-----"
_YEAR_10000: Final = 253_402_300_800  # in seconds since 1970
RSA_SIZES: Final = range(2048, 4097)  # bits; what a longer one signed takes milliseconds to check
RSA_EXPONENT: Final = 65537  # what all vendors have; a long one costs as much as a long key
_SHORTEST_HASH: Final = 32  # bytes: SHA-256
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_UNDERSTOOD: Final = (  # extensions that may be critical (RFC 5280 section 4.2): what they say is held
    "2.5.29.15",  # keyUsage
    "2.5.29.19",  # basicConstraints
    "2.5.29.37",  # extKeyUsage: by who needs a purpose
    "2.23.133.5.4.1",  # TCG DICE, TcbInfo: by the platform's module
    "2.23.133.5.4.1.1",
)
_NAME_CONSTRAINTS: Final = "2.5.29.30"
# What a thread changes of warnings, all see, and two that come and go in turn leave changed: one at a time.
_WARNINGS: Final = threading.Lock()
_OF_A_NAME: Final = "Attribute's length must be"  # what pyca's warning begins with

Extension = TypeVar("Extension", bound=x509.ExtensionType)
Loaded = TypeVar("Loaded")


class ChainRefused(CloisterError):
    """A chain of certificates does not lead to a pinned root, or not now."""

    exit_code = 3
    status = 403


def parse_certificate(data: bytes) -> x509.Certificate:
    """One certificate in DER.

    Raises:
        TooLarge: over 16 KiB.
        MalformedInput: not one certificate, or something follows it.
    """
    if len(data) > MAXIMUM_CERTIFICATE:
        raise TooLarge(f"a certificate of {len(data)} bytes, the cap is {MAXIMUM_CERTIFICATE}")
    return _parse_seen(data)


def _parse(data: bytes) -> x509.Certificate:
    try:
        certificate = _quietly(x509.load_der_x509_certificate, data)
        # pyca reads these when they are asked for: malformed ones are to be malformed here.
        require_names(lambda: (certificate.subject, certificate.issuer, certificate.extensions))
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except MALFORMED as error:
        raise MalformedInput(f"not a certificate: {error}") from error
    require_whole_octets(data, certificate.signature)
    return certificate


# Authorities come along with every chip's certificate, and a chip's with each of its reports: 2 MiB at most are kept.
_parse_seen: Final = lru_cache(maxsize=128)(_parse)


def parse_certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """One certificate in DER, or at most 8 in PEM, in the order they come. A NUL behind the last is passed over.

    Raises:
        TooLarge: one is over 16 KiB, or there are more.
        MalformedInput: anything else.
    """
    if not data.lstrip().startswith(_PEM):
        return (parse_certificate(data),)
    if len(data) > MAXIMUM_CHAIN * 2 * MAXIMUM_CERTIFICATE or data.count(_PEM) > MAXIMUM_CHAIN:
        raise TooLarge(f"a chain of more than {MAXIMUM_CHAIN} certificates")
    try:
        certificates = _quietly(x509.load_pem_x509_certificates, data.rstrip(b"\0"))
    except MALFORMED as error:
        raise MalformedInput(f"not a chain of certificates: {error}") from error
    if len(certificates) != data.count(_PEM):  # pyca passes over one that is cut
        raise MalformedInput("a chain of certificates that is cut")
    return tuple(parse_certificate(one.public_bytes(Encoding.DER)) for one in certificates)


def require_names(read: Callable[[], object]) -> None:
    """Read names, and take what pyca would only warn of for what it is; it warns each time that a name is read again.

    Raises:
        MalformedInput: an attribute of a length that X.520 does not allow, such as a country of eleven letters.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        warnings.filterwarnings("error", _OF_A_NAME, UserWarning)  # and no warning of another thread's
        try:
            read()
        except UserWarning as error:
            raise MalformedInput(f"a name that is none: {error}") from error


def require_whole_octets(data: bytes, signature: bytes) -> None:
    """Hold the bit string at the end of a signed DER structure against having unused bits, which pyca passes over.

    Raises:
        MalformedInput: it says that it has some, so that two encodings would carry one signature.
    """
    if not data.endswith(b"\0" + signature):
        raise MalformedInput("the signature is no whole number of octets")


def fingerprint(certificate: x509.Certificate) -> bytes:
    """What a root is pinned by: SHA-256 of its public key, 32 bytes.

    Raises:
        MalformedInput: a kind of key that nobody here speaks.
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedInput(f"the key of {name_of(certificate)} is not one we know: {error}") from error
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def check_chain(chain: Sequence[x509.Certificate], *, roots: Collection[bytes], at: int) -> None:
    """Hold a chain, its leaf first and its root last, against the pinned `roots` at `at` (seconds since 1970).

    Raises:
        ChainRefused: which certificate fails, and why.
    """
    if not chain or len(chain) > MAXIMUM_CHAIN:
        raise ChainRefused(f"a chain has 1 to {MAXIMUM_CHAIN} certificates, not {len(chain)}")
    # 1. It ends in a root that was pinned: nothing that comes along can vouch for itself.
    root = chain[-1]
    if _pin(root) not in roots:
        raise ChainRefused(f"the chain ends in {name_of(root)}, which is no pinned root")
    # "A certificate MUST NOT appear more than once in a prospective certification path" (section 6.1): a root signs
    # itself, so that one chain would have many spellings.
    if len(set(chain)) != len(chain):
        raise ChainRefused(f"a certificate comes twice in the chain to {name_of(root)}")
    # 2. Each is signed by the next one, which may sign certificates; the root by itself (section 6.1.3 (a)(1), (n)).
    # From the root down: nothing is verified with a key that nobody has vouched for yet.
    for position, (certificate, issuer) in reversed(list(enumerate(zip(chain, [*chain[1:], root], strict=True)))):
        check_issued(certificate, issuer, below=max(position - (certificate is root), 0))
    # 3. All of them are in date (section 6.1.3 (a)(2)).
    for certificate in chain:
        check_in_date(certificate, at=at)


def _pin(root: x509.Certificate) -> bytes:
    try:
        return fingerprint(root)
    except MalformedInput as error:
        raise ChainRefused(str(error)) from error


def check_issued(certificate: x509.Certificate, issuer: x509.Certificate, *, below: int) -> None:
    """Whether `issuer`, with `below` certificates between it and the leaf, signed `certificate` and might.

    Raises:
        ChainRefused: it did not, or may not.
    """
    require_strong(issuer)
    require_hash(certificate, name_of(certificate))
    try:
        _verify_seen(certificate, issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise ChainRefused(f"{name_of(certificate)} is not signed by {name_of(issuer)}") from error
    _require_understood(certificate)
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise ChainRefused(f"{name_of(issuer)} may not sign certificates: it is no CA")
    if constraints.path_length is not None and below > constraints.path_length:
        raise ChainRefused(f"{name_of(issuer)} may have {constraints.path_length} CAs below it, not {below}")
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise ChainRefused(f"{name_of(issuer)} may not sign certificates: its key usage does not say so")


def require_strong(certificate: x509.Certificate) -> None:
    """Hold a certificate's key, before anything is verified with it, against those that vendors use.

    Raises:
        ChainRefused: neither RSA of 2,048 to 4,096 bits and the exponent 65537 nor on a NIST curve from P-256 on.
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ChainRefused(f"the key of {name_of(certificate)} is not one we know") from error
    if isinstance(key, RSAPublicKey):
        strong = key.key_size in RSA_SIZES and key.public_numbers().e == RSA_EXPONENT
    else:
        strong = isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES
    if not strong:
        raise ChainRefused(f"the key of {name_of(certificate)} is too weak or too long, or of a kind no vendor uses")


def require_hash(signed: x509.Certificate | x509.CertificateRevocationList, name: str) -> None:
    """Hold what was hashed for a signature against SHA-256 and longer ones.

    Raises:
        ChainRefused: it was SHA-1, SHA-224, or what nobody here knows.
    """
    try:
        algorithm = signed.signature_hash_algorithm
    except MALFORMED as error:
        raise ChainRefused(f"{name} is signed with what nobody here knows") from error
    if algorithm is None or algorithm.digest_size < _SHORTEST_HASH:
        hashed = algorithm.name if algorithm else "no hash"
        raise ChainRefused(f"{name} is signed with {hashed}: SHA-256 or a longer one is needed")


def _require_understood(certificate: x509.Certificate) -> None:
    """Section 4.2: a critical extension that is not held refuses the certificate, and so do constraints of names."""
    for one in certificate.extensions:
        number = one.oid.dotted_string
        if number == _NAME_CONSTRAINTS or (one.critical and number not in _UNDERSTOOD):
            raise ChainRefused(f"{name_of(certificate)} has the extension {number}, which is not held here")


def _verify(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    certificate.verify_directly_issued_by(issuer)


# The few authorities of a vendor stand above each of its chips, and the same chips ask again: that one signed another
# is found out once. Only what held is kept, for certificates that are the same in every byte; whether they are in date
# is asked each time.
_verify_seen: Final = lru_cache(maxsize=256)(_verify)


def check_in_date(certificate: x509.Certificate, *, at: int) -> None:
    """Whether `at`, seconds since 1970, lies within the certificate's time.

    Raises:
        ChainRefused: it has expired, or is not valid yet.
    """
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at < first.timestamp():
        raise ChainRefused(f"{name_of(certificate)} is valid from {day(first)} on")
    if at > last.timestamp():
        raise ChainRefused(f"{name_of(certificate)} expired on {day(last)}")


def serial_number_of(certificate: x509.Certificate) -> int:
    """Its serial number, which may be one that RFC 5280 does not allow: 0, or below."""
    return _quietly(lambda _: certificate.serial_number, b"")


def name_of(certificate: x509.Certificate) -> str:
    """What a person calls it: its common name, or all of its subject; at most 80 characters."""
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(common[0].value) if common else certificate.subject.rfc4514_string()
    return name[:80] or "a certificate without a name"


def day(moment: datetime | int) -> str:
    """A moment as people write it: `2026-11-21 12:00:00 UTC`; what no calendar has, in seconds since 1970."""
    if isinstance(moment, int):
        if not 0 <= moment < _YEAR_10000:  # evidence can say any number, and is told so before its signature is held
            return f"{moment} s after 1970"
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _quietly(load: Callable[[bytes], Loaded], data: bytes) -> Loaded:
    """Without warnings of serial numbers that RFC 5280 does not allow: all of AMD's chips have 0."""
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return load(data)


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
