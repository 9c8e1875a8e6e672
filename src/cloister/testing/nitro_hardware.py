"""A Nitro Security Module that is made up from a seed: documents that AWS never vouched for.

Production code accepts them only where `MadeNitro.roots` are given in place of AWS's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.formats.cose_sign1 import TAG, sig_structure
from cloister.formats.nitro_document import PROTECTED
from cloister.testing.certificates import Authority, Life, made_key


def key_usage(*, sign: bool) -> x509.KeyUsage:
    """The key usage of a certificate that signs documents, or of one that does not."""
    named = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    other = dict.fromkeys((*named, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=sign, **other)


@dataclass(frozen=True)
class MadeNitro:
    """A module with its chain. `now` is in seconds since 1970; its certificate lives three hours from then."""

    now: int
    seed: str = "nitro"
    key: ec.EllipticCurvePrivateKey | None = None  # another key than the seed's
    usage: x509.KeyUsage | None = field(default_factory=lambda: key_usage(sign=True))

    @property
    def roots(self) -> list[bytes]:
        """What stands in place of AWS's."""
        return [self._issuer.pin]

    def document(self, **changes: Any) -> bytes:
        """A signed document, its payload as the module writes it; a change to None leaves a field out."""
        return self.sign(self.payload(**changes))

    def payload(self, **changes: Any) -> bytes:
        """What is signed, in a map of indefinite length."""
        fields = {**self.fields(), **changes}
        pairs = [cbor2.dumps(name) + cbor2.dumps(value) for name, value in fields.items() if value is not None]
        return b"\xbf" + b"".join(pairs) + b"\xff"

    def fields(self) -> Mapping[str, Any]:
        """Every field's value."""
        chain = [one.public_bytes(Encoding.DER) for one in (self._leaf, *self._issuer.chain)]
        pcrs = {index: bytes(48) for index in range(16)} | {index: bytes([index + 1]) * 48 for index in (0, 1, 2, 4)}
        return {
            "module_id": "i-0123-enc4567",
            "digest": "SHA384",
            "timestamp": self.now * 1000 + 578,
            "pcrs": pcrs,
            "certificate": chain[0],
            "cabundle": chain[:0:-1],
            "public_key": None,
            "user_data": b"\5" * 64,
            "nonce": b"\6" * 32,
        }

    def sign(self, payload: bytes, *, protected: bytes = PROTECTED, tagged: bool = False) -> bytes:
        """A COSE_Sign1 over any payload."""
        signature = self._key.sign(sig_structure(protected, payload), ec.ECDSA(SHA384()))
        half = (self._key.key_size + 7) // 8
        raw = b"".join(one.to_bytes(half, "big") for one in decode_dss_signature(signature))
        message = [protected, {}, payload, raw]
        return cbor2.dumps(cbor2.CBORTag(TAG, message) if tagged else message)

    @property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return self.key or made_key(f"{self.seed} enclave")

    @property
    def _issuer(self) -> Authority:
        long = Life(self.now - 100_000, self.now + 100_000)
        root = Authority.root(f"{self.seed} root", long)
        return root.authority("region", long, path_length=2).authority("instance", long)

    @property
    def _leaf(self) -> x509.Certificate:
        extensions = [] if self.usage is None else [(self.usage, True)]
        return self._issuer.issue("enclave", self._key.public_key(), Life(self.now, self.now + 10_800), extensions)
