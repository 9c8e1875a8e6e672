"""Certificate revocation lists (RFC 5280 sections 5 and 6.3), complete ones, each signed by its issuer itself.

A list that is past its nextUpdate says nothing. Of several in date each counts: what one names is revoked, whatever
the others leave out. Silence is not consent: a certificate whose issuer has no list here is refused. Nothing here
remembers: where only an older list comes, still in date, the caller holds it against what it met (`attest.seen`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.certificates import (
    MALFORMED,
    ChainRefused,
    day,
    name_of,
    require_hash,
    require_names,
    require_strong,
    require_whole_octets,
    serial_number_of,
)
from cloister.errors import MalformedInput, TooLarge

MAXIMUM_LIST: Final = 4 * 1024 * 1024  # bytes
_HIGHEST_NUMBER: Final = 2**53  # of a list: records hold no higher one
_PEM: Final = b"-----BEGIN X509 CRL-----"


def parse_list(data: bytes) -> x509.CertificateRevocationList:
    """One revocation list, in DER or PEM.

    Raises:
        TooLarge: over 4 MiB.
        MalformedInput: not one list.
    """
    if len(data) > MAXIMUM_LIST:
        raise TooLarge(f"a revocation list of {len(data)} bytes, the cap is {MAXIMUM_LIST}")
    try:
        pem = data.lstrip().startswith(_PEM)
        found = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
        require_names(
            lambda: (found.issuer, found.extensions)
        )  # what pyca reads when it is asked for: malformed ones are so here
        _ = found.last_update_utc, found.next_update_utc
        critical = [one.oid for one in found.extensions if one.critical]
    except MALFORMED as error:
        raise MalformedInput(f"not a revocation list: {error}") from error
    require_whole_octets(found.public_bytes(Encoding.DER) if pem else data, found.signature)
    if critical:  # a delta, or a list of some certificates only (section 5.2)
        raise MalformedInput(f"a revocation list that is not complete: extension {critical[0].dotted_string}")
    return found


def check_not_revoked(
    chain: Sequence[x509.Certificate], lists: Sequence[x509.CertificateRevocationList], *, at: int
) -> tuple[x509.CertificateRevocationList, ...]:
    """Hold each certificate of a checked chain, its root aside, against its issuer's list at `at` (since 1970).

    Returns:
        The newest list of each issuer, for callers that remember.

    Raises:
        ChainRefused: one is revoked, or its issuer's list is missing, not its issuer's, or not in date.
    """
    newest: list[x509.CertificateRevocationList] = []
    for certificate, issuer in pairwise(chain):
        issued = _lists_of(issuer, lists, at=at)
        newest.append(issued[0])
        number = serial_number_of(certificate)
        if number <= 0:
            raise ChainRefused(f"{name_of(certificate)} has the serial number {number}, which no list can name")
        for one in issued:
            entry = one.get_revoked_certificate_by_serial_number(number)
            if entry is not None:
                raise ChainRefused(f"{name_of(certificate)} was revoked on {day(entry.revocation_date_utc)}")
    return tuple(newest)


def list_number(found: x509.CertificateRevocationList) -> int:
    """Its CRL number (RFC 5280 section 5.2.3); 0 where it has none.

    Raises:
        ChainRefused: a number below 0, or over 2^53, which is remembered nowhere.
    """
    try:
        number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
    if not 0 <= number <= _HIGHEST_NUMBER:
        raise ChainRefused(f"a revocation list of the number {number}")
    return number


def check_list_signed(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    """Whether `issuer` signed this list, and might; when, and what it names, is not asked.

    Raises:
        ChainRefused: it is of another issuer, or nothing that one may sign.
    """
    require_strong(issuer)
    if found.issuer != issuer.subject or not _is_signed_by(found, issuer):
        raise ChainRefused(f"the revocation list is not signed by {name_of(issuer)}")
    _require_may_revoke(issuer)
    require_hash(found, f"the revocation list of {name_of(issuer)}")


def _lists_of(
    issuer: x509.Certificate, lists: Sequence[x509.CertificateRevocationList], *, at: int
) -> list[x509.CertificateRevocationList]:
    """All lists in date that `issuer` signed; the newest of what it signed is the first of them."""
    require_strong(issuer)
    own = [one for one in lists if one.issuer == issuer.subject and _is_signed_by(one, issuer)]
    if not own:
        raise ChainRefused(f"there is no revocation list of {name_of(issuer)}")
    _require_may_revoke(issuer)
    for one in own:
        require_hash(one, f"the revocation list of {name_of(issuer)}")
    own.sort(key=lambda one: (one.last_update_utc, list_number(one)), reverse=True)
    newest = own[0]
    if at < newest.last_update_utc.timestamp():
        raise ChainRefused(f"the revocation list of {name_of(issuer)} is of {day(newest.last_update_utc)}, after now")
    until = newest.next_update_utc
    if until is None or at > until.timestamp():
        when = "has no end" if until is None else f"ended on {day(until)}"
        raise ChainRefused(f"the revocation list of {name_of(issuer)} {when}: fetch a newer one")
    return [one for one in own if _is_in_date(one, at=at)]


def _require_may_revoke(issuer: x509.Certificate) -> None:
    """Section 6.3.3 (f): where it says what its key is for, lists are named."""
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.crl_sign:
        raise ChainRefused(f"{name_of(issuer)} may not sign revocation lists: its key usage does not say so")


def _is_in_date(found: x509.CertificateRevocationList, *, at: int) -> bool:
    until = found.next_update_utc
    return until is not None and found.last_update_utc.timestamp() <= at <= until.timestamp()


def _is_signed_by(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        _verify_seen(_Signed(found.fingerprint(SHA256()), issuer, found))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Signed:
    """A list by its SHA-256: pyca's lists cannot be told apart themselves."""

    digest: bytes
    issuer: x509.Certificate
    found: x509.CertificateRevocationList = field(compare=False)


def _verify(signed: _Signed) -> None:
    key = signed.issuer.public_key()
    if not signed.found.is_signature_valid(key):  # type: ignore[arg-type]  # another kind is a TypeError
        raise InvalidSignature


# A list stands for weeks before all evidence of its vendor's. Only what held is kept, of lists that are the same in
# every byte, and few: one may have 4 MiB.
_verify_seen: Final = lru_cache(maxsize=8)(_verify)
