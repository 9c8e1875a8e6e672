"""OCSP answers of made-up authorities: what a vendor's responder says, with arguments to vary each part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from cloister.testing.certificates import Authority, Life, made_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Responder:
    """Who answers, for how long an answer counts, and what it says."""

    life: Life
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD
    nonce: bytes = b""
    # By a responder with a certificate of the issuer's own, this one if it is given, and not by the issuer itself.
    delegated: bool | x509.Certificate = False
    usage: Sequence[x509.ObjectIdentifier] = field(default=(ExtendedKeyUsageOID.OCSP_SIGNING,))

    def answer(self, certificate: x509.Certificate, issuer: Authority, *, signer: Authority | None = None) -> bytes:
        """The answer for one certificate of `issuer`'s, in DER; another may sign it."""
        first, last = self.life.moments
        revoked = self.status is ocsp.OCSPCertStatus.REVOKED
        authority = signer or issuer
        builder = ocsp.OCSPResponseBuilder().add_response(
            certificate,
            issuer.certificate,
            hashes.SHA384(),
            self.status,
            first,
            last,
            first if revoked else None,
            None,
        )
        own, key = authority.certificate, authority.key
        if self.delegated:  # who answers for itself needs no certificate
            key = made_key("responder")
            own = self._own(authority) if self.delegated is True else self.delegated
            builder = builder.certificates([own])
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, own)
        if self.nonce:
            builder = builder.add_extension(x509.OCSPNonce(self.nonce), critical=False)
        return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.DER)

    def _own(self, authority: Authority) -> x509.Certificate:
        usage = [(x509.ExtendedKeyUsage(self.usage), False)]
        return authority.issue("responder", made_key("responder").public_key(), self.life, usage)
