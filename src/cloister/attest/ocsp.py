"""OCSP answers (RFC 6960): what an issuer, or whom it delegated, says of a certificate's revocation.

Pure bytes: whoever demands a nonce says which. Silence is not consent: a certificate that no good answer in date speaks
of is refused. So is one that any answer in date calls unknown, or any at all revoked: who chooses the answers cannot
outvote one. What is not checked: the revocation of a delegated responder itself, which its short life stands in for
(section 4.2.2.2.1).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from cloister.attest.certificates import (
    MALFORMED,
    ChainRefused,
    check_in_date,
    check_issued,
    day,
    name_of,
    parse_certificate,
    require_strong,
)
from cloister.errors import MalformedInput, TooLarge

MAXIMUM_ANSWER: Final = 64 * 1024  # bytes
MAXIMUM_RESPONDERS: Final = 2  # certificates: each is one more signature to hold
MAXIMUM_SINGLES: Final = 16  # certificates that one answer speaks of
STAPLED: Final = "stapled"
Nonce = bytes | Literal["stapled"]  # what whoever judges sent; or that nobody was asked, and any in date is taken
_NONCE_SIZES: Final = range(16, 33)  # bytes (RFC 9654 section 2.1: 32 are due, and no more are taken)


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """An answer that nobody judged yet; the same as another where the bytes are."""

    digest: bytes  # SHA-256 of them
    response: ocsp.OCSPResponse = field(compare=False)
    certificates: tuple[x509.Certificate, ...] = field(compare=False)  # of responders that may have been delegated
    singles: tuple[ocsp.OCSPSingleResponse, ...] = field(compare=False)  # what it says, of certificates of one issuer


def parse_answer(data: bytes) -> OcspAnswer:
    """One OCSPResponse in DER.

    Raises:
        TooLarge: over 64 KiB, with more than 2 certificates, or of more than 16 certificates.
        MalformedInput: not an answer, one that says no more than an error, or of certificates of several issuers, for
            all of whom nobody can answer (section 4.2.2.2).
    """
    if len(data) > MAXIMUM_ANSWER:
        raise TooLarge(f"an OCSP answer of {len(data)} bytes, the cap is {MAXIMUM_ANSWER}")
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise MalformedInput(f"the OCSP responder had no answer: {response.response_status.name.lower()}")
        # pyca reads these when they are asked for: malformed ones are to be malformed here.
        _ = response.extensions, response.signature_hash_algorithm, response.tbs_response_bytes
        carried, singles = response.certificates, tuple(response.responses)
        if len(carried) > MAXIMUM_RESPONDERS or len(singles) > MAXIMUM_SINGLES:
            raise TooLarge(
                f"an OCSP answer of {len(singles)} certificates that carries {len(carried)} of responders, the caps "
                f"are {MAXIMUM_SINGLES} and {MAXIMUM_RESPONDERS}"
            )
        certificates = tuple(parse_certificate(one.public_bytes(Encoding.DER)) for one in carried)
        issuers = {(one.hash_algorithm.name, one.issuer_name_hash, one.issuer_key_hash) for one in singles}
        _ = [one.certificate_status for one in singles]
        if len(issuers) > 1:
            raise MalformedInput(f"an OCSP answer of certificates of {len(issuers)} issuers, not of one")
        if b"\0" + response.signature not in data:
            raise MalformedInput("the OCSP answer's signature is no whole number of octets")
    except MALFORMED as error:
        raise MalformedInput(f"not an OCSP answer: {error}") from error
    return OcspAnswer(hashlib.sha256(data).digest(), response, certificates, singles)


def check_answered_good(
    chain: Sequence[x509.Certificate], answers: Iterable[OcspAnswer], *, nonce: Nonce, at: int, whole: bool
) -> None:
    """Hold each certificate of a checked chain, its root aside, against its issuer's answers at `at` (since 1970).

    Args:
        chain: the leaf first, the root last.
        answers: in any order, of all of them together.
        nonce: what consent has to answer, 16 to 32 bytes, or `stapled`: in date is then enough.
        at: seconds since 1970.
        whole: whether the leaf is held too; a device makes its own, which no responder knows of.

    Raises:
        ValueError: a nonce of another size.
        ChainRefused: one is revoked or not known, or no answer in date, by its issuer or for it, says that it is good.
    """
    if nonce != STAPLED and len(nonce) not in _NONCE_SIZES:
        raise ValueError(f"a nonce of {len(nonce)} bytes, and 16 to 32 are due")
    given = tuple(answers)
    for certificate, issuer in list(pairwise(chain))[0 if whole else 1 :]:
        # 1. What is of this certificate: serial number, and its issuer's name and key (section 4.1.1).
        reasons: list[str] = []
        for answer in given:
            own = _said_of(certificate, issuer, answer)
            # 2. Signed by the issuer, or by whom it delegated: asked once for all that the answer says.
            unsigned = _unsigned(answer, issuer, at=at) if own else ""
            reasons += [
                f"the OCSP answer for {name_of(certificate)}: {unsigned}"
                if unsigned
                else _refusal(answer, one, certificate, nonce=nonce, at=at)
                for one in own
            ]
        if not all(reasons):  # one is good, and no other said otherwise
            continue
        raise ChainRefused(next(iter(reasons), f"there is no OCSP answer for {name_of(certificate)}"))


def read_answered(
    certificate: x509.Certificate, issuer: x509.Certificate, answer: OcspAnswer, *, at: int
) -> ocsp.OCSPSingleResponse:
    """The one thing that an answer says of a certificate, good or not, if who may at `at` (since 1970) signed it.

    Raises:
        ChainRefused: it says nothing of this certificate or several things, or nobody who may answer signed it.
    """
    own = _said_of(certificate, issuer, answer)
    if len(own) != 1:
        raise ChainRefused(f"the OCSP answer says {len(own)} things of {name_of(certificate)}, not one")
    _check_signed(answer, issuer, at=at)
    return own[0]


def check_nonce(answer: OcspAnswer, nonce: bytes) -> None:
    """Whether the answer has the nonce that was sent (RFC 6960 section 4.4.1).

    Raises:
        ChainRefused: another, or none.
    """
    if not hmac.compare_digest(_nonce(answer.response), nonce):
        raise ChainRefused("the OCSP answer has another nonce than was sent")


def _unsigned(answer: OcspAnswer, issuer: x509.Certificate, *, at: int) -> str:
    """Why nobody who may answer signed this; empty where one did."""
    try:
        _check_signed(answer, issuer, at=at)
    except ChainRefused as error:
        return str(error)
    return ""


def _refusal(
    answer: OcspAnswer, one: ocsp.OCSPSingleResponse, certificate: x509.Certificate, *, nonce: Nonce, at: int
) -> str:
    """Why this answer, whose signature holds, is no consent; empty where it is (section 3.2).

    Raises:
        ChainRefused: it says revoked, or unknown in its time, which no other answer, older or newer, takes back.
    """
    name = name_of(certificate)
    if one.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        raise ChainRefused(
            f"{name} was revoked" + (f" on {day(one.revocation_time_utc)}" if one.revocation_time_utc else "")
        )
    # 3. In date (section 3.2, 5 and 6).
    if at < one.this_update_utc.timestamp():
        return f"the OCSP answer for {name} is of {day(one.this_update_utc)}, after now"
    until = one.next_update_utc
    if until is None or at > until.timestamp():
        return f"the OCSP answer for {name} " + ("has no end" if until is None else f"ended on {day(until)}: ask again")
    # 4. Good, and nothing else, whatever was asked: an older "good" beside it is what a responder no longer says.
    if one.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise ChainRefused(f"the OCSP responder does not know {name}")
    # 5. It answers what was asked (section 4.4.1).
    try:
        if nonce != STAPLED:
            check_nonce(answer, nonce)
    except ChainRefused as error:
        return f"{error}, for {name}"
    return ""


def _said_of(
    certificate: x509.Certificate, issuer: x509.Certificate, answer: OcspAnswer
) -> list[ocsp.OCSPSingleResponse]:
    """What it says of this certificate; all that an answer says is of one issuer's, which is hashed once."""
    number = certificate.serial_number
    own = [one for one in answer.singles if one.serial_number == number]
    return own if own and _is_from(own[0], issuer) else []


def _is_from(one: ocsp.OCSPSingleResponse, issuer: x509.Certificate) -> bool:
    return one.issuer_name_hash == _digest(
        one.hash_algorithm, issuer.subject.public_bytes()
    ) and one.issuer_key_hash == _digest(one.hash_algorithm, _key_bits(issuer))


def _key_bits(issuer: x509.Certificate) -> bytes:
    """What SubjectPublicKeyInfo ends with: an uncompressed point, or an RSAPublicKey; empty for other kinds of key."""
    try:
        key = issuer.public_key()
        if isinstance(key, EllipticCurvePublicKey):
            return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    except MALFORMED:
        return b""


def _check_signed(answer: OcspAnswer, issuer: x509.Certificate, *, at: int) -> None:
    """Section 4.2.2.2: by the issuer's key, or by a responder that the issuer itself certified for this."""
    signer = _signer_seen(answer, issuer)
    if isinstance(signer, str):
        raise ChainRefused(signer)
    if signer != issuer:
        check_in_date(signer, at=at)


def _signer(answer: OcspAnswer, issuer: x509.Certificate) -> x509.Certificate | str:
    """Who signed it, of those that may; or why that is nobody.

    Whether the issuer certified a responder is asked first: anybody can make up one whose key is dear to verify with.
    """
    if _is_signed_by(answer.response, issuer):
        return issuer
    refused = f"it is signed neither by {name_of(issuer)} nor by one that it delegated"
    for responder in answer.certificates:
        try:
            check_issued(responder, issuer, below=0)
        except ChainRefused as error:
            refused = str(error)
            continue
        if _is_signed_by(answer.response, responder):
            delegated = ExtendedKeyUsageOID.OCSP_SIGNING in _extended_usage(responder)
            return responder if delegated else f"{name_of(responder)} was not delegated to answer"
    return refused


# The same answers come with each of a machine's devices, and with each of its requests. What failed is kept, too: it
# costs as much. Whether the signer is in date is asked each time. 8 MiB of answers at most are kept.
_signer_seen: Final = lru_cache(maxsize=128)(_signer)


def _extended_usage(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return []


def _is_signed_by(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    try:
        require_strong(certificate)
        key, algorithm = certificate.public_key(), response.signature_hash_algorithm
        if algorithm is None or algorithm.digest_size < hashes.SHA256.digest_size:
            return False
        if isinstance(key, EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ECDSA(algorithm))
        elif isinstance(key, RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, PKCS1v15(), algorithm)
        else:
            return False
    except (ChainRefused, InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _nonce(response: ocsp.OCSPResponse) -> bytes:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return b""


def _digest(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
