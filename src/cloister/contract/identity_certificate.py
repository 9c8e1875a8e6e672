"""X.509 certificates of contract authorities and of nodes: how they are made, and what is read of one (RFC 5280).

A node's is an X509-SVID. SPIFFE's X509-SVID, section 2: "An X.509 SVID MUST contain exactly one URI SAN"; section 4.1:
cA is false; section 4.3: digitalSignature is set, keyCertSign and cRLSign are not; section 4.4: both serverAuth and
clientAuth. Nothing in it is chosen by who asks: the host name beside the URI is derived from line and role.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from cloister.attest.certificates import parse_certificate
from cloister.crypto.p256 import P256Key, read_p256
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput
from cloister.formats.spiffe import SpiffeName, trust_domain

AUTHORITY_LIFE: Final = 3_653 * 86_400  # seconds: ten years; what it issues lives an hour
_ALL_ADDRESSES: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
_OF_AUTHORITY: Final = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
}
_OF_IDENTITY: Final = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
}
_MAY_SIGN: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_MAY_SPEAK: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_PURPOSES: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when a certificate is valid, in seconds since 1970."""

    not_before: int
    not_after: int


@dataclass(frozen=True, slots=True)
class AuthorityCertificate:
    """An authority's certificate of the form that it must have, for the line and generation it was read for."""

    certificate: x509.Certificate
    window: Window

    @property
    def key(self) -> bytes:
        """Its SubjectPublicKeyInfo, 91 bytes."""
        return key_of(self.certificate)


@dataclass(frozen=True, slots=True)
class ReadIdentity:
    """What a certificate says that may be a node's. Nothing in it is trusted yet."""

    certificate: x509.Certificate
    window: Window
    key: bytes  # SubjectPublicKeyInfo, of whatever kind
    uris: tuple[str, ...]
    hosts: tuple[str, ...]
    named_otherwise: bool  # by an address, a mailbox or anything else
    speaks: bool  # whether usages, purposes and extensions are those of a node, and no others

    @property
    def serial(self) -> bytes:
        """As an `identity` entry has it; empty where it has no such form."""
        number = self.certificate.serial_number
        return number.to_bytes(16, "big") if 0 < number < 2**127 else b""


def make_authority(key: P256Key, *, line: bytes, generation: int, window: Window, serial: bytes) -> bytes:
    """The self-signed certificate of an authority, DER: it can vouch for names in its line's trust domain alone."""
    domain, name = trust_domain(line), _authority_name(line, generation)
    public = key.private.public_key()
    builder = (
        _begun(window, serial)
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_MAY_SIGN, critical=True)
        .add_extension(_constraints(domain), critical=True)
        .add_extension(x509.SubjectAlternativeName(_uris(f"spiffe://{domain}")), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(key.private, SHA256()).public_bytes(Encoding.DER)


def make_identity(
    authority: P256Key, issuer: AuthorityCertificate, name: SpiffeName, key: bytes, *, window: Window, serial: bytes
) -> bytes:
    """A node's certificate, DER, for the P-256 key with this SubjectPublicKeyInfo.

    Raises:
        MalformedInput: `key` is none.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name.role)])
    names = x509.SubjectAlternativeName([*_uris(str(name)), x509.DNSName(name.host)])
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.private.public_key())
    builder = (
        _begun(window, serial)
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(read_p256(key))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_MAY_SPEAK, critical=True)
        .add_extension(_PURPOSES, critical=False)
        .add_extension(names, critical=False)
        .add_extension(authority_id, critical=False)
    )
    return builder.sign(authority.private, SHA256()).public_bytes(Encoding.DER)


def read_authority(data: bytes, *, line: bytes, generation: int) -> AuthorityCertificate:
    """The certificate of the authority of this generation of this line.

    Raises:
        TooLarge, MalformedInput: it is none, or may sign more or other than the names of its line, or for longer.
        BadSignature: it is not signed by itself.
    """
    certificate = parse_certificate(data)
    domain, window = trust_domain(line), window_of(certificate)
    read_p256(key_of(certificate))
    demands = (
        (certificate.subject == _authority_name(line, generation), "is named after another line or generation"),
        (certificate.issuer == certificate.subject, "is issued by another"),
        (_extensions(certificate) == _OF_AUTHORITY, "has other extensions than an authority's"),
        (_has(certificate, x509.BasicConstraints(ca=True, path_length=0)), "is no authority of path length 0"),
        (_has(certificate, _MAY_SIGN), "may be used for more than signing certificates"),
        (_has(certificate, _constraints(domain)), "is not constrained to the names of its line"),
        (_named(certificate) == ((f"spiffe://{domain}",), (), False), "bears other names than its trust domain"),
        (0 < window.not_after - window.not_before <= AUTHORITY_LIFE, "is valid for more than ten years, or never"),
    )
    for holds, shortfall in demands:
        if not holds:
            raise MalformedInput(shortfall)
    check_issued_by(certificate, certificate)
    return AuthorityCertificate(certificate, window)


def read_identity(data: bytes) -> ReadIdentity:
    """A certificate that may be a node's.

    Raises:
        TooLarge, MalformedInput: it is no certificate.
    """
    certificate = parse_certificate(data)
    uris, hosts, otherwise = _named(certificate)
    speaks = (
        _extensions(certificate) == _OF_IDENTITY
        and _has(certificate, x509.BasicConstraints(ca=False, path_length=None))
        and _has(certificate, _MAY_SPEAK)
        and _has(certificate, _PURPOSES, critical=False)
    )
    return ReadIdentity(certificate, window_of(certificate), key_of(certificate), uris, hosts, otherwise, speaks)


def check_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> None:
    """Check that `authority` signed `certificate`, with ECDSA and SHA-256.

    Raises:
        BadSignature: it did not.
    """
    try:
        hashed = certificate.signature_hash_algorithm
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise BadSignature("is not signed by this authority") from error
    if not isinstance(hashed, SHA256):
        raise BadSignature("is not signed with SHA-256")


def key_of(certificate: x509.Certificate) -> bytes:
    """Its SubjectPublicKeyInfo, DER.

    Raises:
        MalformedInput: a kind of key that nobody here speaks.
    """
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedInput("has a key of a kind that nobody here speaks") from error


def window_of(certificate: x509.Certificate) -> Window:
    """When it is valid."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Window(int(first.timestamp()), int(last.timestamp()))


def _begun(window: Window, serial: bytes) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .serial_number(int.from_bytes(serial, "big"))
        .not_valid_before(datetime.fromtimestamp(window.not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(window.not_after, UTC))
    )


def _authority_name(line: bytes, generation: int) -> x509.Name:
    name = f"Cloister contract {line.hex()[:16]} authority {generation}"
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _constraints(domain: str) -> x509.NameConstraints:
    """URIs, host names and mailboxes of its own trust domain, and no address (RFC 5280, section 4.2.1.10)."""
    permitted = [x509.UniformResourceIdentifier(domain), x509.DNSName(domain), x509.RFC822Name(domain)]
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=[*map(x509.IPAddress, _ALL_ADDRESSES)])


def _uris(uri: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(uri)]


def _extensions(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    return {one.oid for one in certificate.extensions}


def _has(certificate: x509.Certificate, wanted: x509.ExtensionType, *, critical: bool = True) -> bool:
    """Whether it bears exactly this extension, and says whether who does not know it may pass it over."""
    return any(one.value == wanted and one.critical == critical for one in certificate.extensions)


def _named(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The URIs and host names among its alternative names, and whether there is any other."""
    for one in certificate.extensions:
        if isinstance(one.value, x509.SubjectAlternativeName):
            names = list(one.value)
            uris = tuple(name.value for name in names if isinstance(name, x509.UniformResourceIdentifier))
            hosts = tuple(name.value for name in names if isinstance(name, x509.DNSName))
            return uris, hosts, len(uris) + len(hosts) < len(names)
    return (), (), False
