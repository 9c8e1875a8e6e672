"""Certificate authorities that are made up from a seed: nothing that a vendor vouches for.

Keys are the same for the same seed; times are arguments. Production code accepts what they sign only where their roots
are given to it in place of the vendors'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloister.attest.certificates import fingerprint

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Extensions = Sequence[tuple[x509.ExtensionType, bool]]  # and whether it is critical


def made_key(seed: str, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """A key of this seed, on P-384 if nothing else is said."""
    chosen = curve or ec.SECP384R1()
    digest = hashlib.sha512(seed.encode()).digest()[: chosen.key_size // 8 - 1]
    return ec.derive_private_key(int.from_bytes(digest, "big") + 1, chosen)


@dataclass(frozen=True, slots=True)
class Life:
    """From when until when, in seconds since 1970."""

    first: int
    last: int

    @property
    def moments(self) -> tuple[datetime, datetime]:
        """The same, as certificates have it."""
        return datetime.fromtimestamp(self.first, UTC), datetime.fromtimestamp(self.last, UTC)


@dataclass(frozen=True, slots=True)
class Authority:
    """One that signs, with the chain from its own certificate to its root."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]  # its own first

    @classmethod
    def root(cls, name: str, life: Life, *, key: ec.EllipticCurvePrivateKey | None = None) -> Self:
        """A root of this name; its key is of the seed `name`, if none is given."""
        own = key or made_key(name)
        extensions: Extensions = [(x509.BasicConstraints(ca=True, path_length=None), True)]
        return cls(own, (_signed(name, own.public_key(), name, own, life, extensions),))

    @property
    def certificate(self) -> x509.Certificate:
        """Its own."""
        return self.chain[0]

    @property
    def pin(self) -> bytes:
        """What its root is pinned by."""
        return fingerprint(self.chain[-1])

    def issue(self, name: str, public: PublicKey, life: Life, extensions: Extensions = ()) -> x509.Certificate:
        """A certificate for this key."""
        issuer = name_in(self.certificate.subject)
        return _signed(name, public, issuer, self.key, life, extensions)

    def authority(self, name: str, life: Life, *, path_length: int | None = 0) -> Authority:
        """One below it, whose key is of this name and its issuer's key: namesakes of two vendors share none."""
        key = made_key(f"{name} below {self.key.private_numbers().private_value:x}")
        extensions: Extensions = [(x509.BasicConstraints(ca=True, path_length=path_length), True)]
        return Authority(key, (self.issue(name, key.public_key(), life, extensions), *self.chain))

    def revocations(self, revoked: Iterable[x509.Certificate], life: Life, *, number: int | None = 1) -> bytes:
        """Its revocation list of this CRL number, or of none, in DER."""
        first, last = life.moments
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(first).next_update(last)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(first)
            builder = builder.add_revoked_certificate(entry.build())
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        return builder.sign(self.key, hashes.SHA384()).public_bytes(Encoding.DER)


def name_in(name: x509.Name) -> str:
    """The common name in a name."""
    return str(name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def _signed(
    name: str,
    public: PublicKey,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    life: Life,
    extensions: Extensions,
) -> x509.Certificate:
    first, last = life.moments
    # All that it says: two certificates of one issuer never share a serial number (RFC 5280 section 4.1.2.2).
    said = [f"{name} of {issuer} {life}".encode(), public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
    said += [one.oid.dotted_string.encode() + one.public_bytes() for one, _ in extensions]
    number = int.from_bytes(hashlib.sha256(b"".join(said)).digest()[:8], "big") >> 2 | 1 << 62  # always 8 bytes
    builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name(issuer)).public_key(public)
    builder = builder.serial_number(number).not_valid_before(first).not_valid_after(last)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA384())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
