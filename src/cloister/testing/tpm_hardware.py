"""A TPM that is made up from a seed: quotes that no manufacturer vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cloister.formats.event_log import SHA256, SHA384
from cloister.formats.tpm_quote import ECDSA, RSAPSS, TPM_GENERATED_VALUE, TPM_ST_ATTEST_QUOTE
from cloister.testing.certificates import made_key
from cloister.testing.rsa_keys import made_rsa_key

ATTESTATION_KEY = 0x00050072  # fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign
_HASHES: dict[int, hashes.HashAlgorithm] = {SHA256: hashes.SHA256(), SHA384: hashes.SHA384()}
_NULL = bytes.fromhex("0010")


@dataclass(frozen=True)
class MadeTpm:
    """A TPM with an attestation key and PCRs, by bank and number."""

    pcrs: Mapping[int, Mapping[int, bytes]]
    seed: str = "tpm"
    scheme: int = ECDSA
    hash: int = SHA256
    attributes: int = ATTESTATION_KEY
    curve: ec.EllipticCurve = field(default_factory=ec.SECP256R1)

    def quote(
        self, nonce: bytes, *, selected: Mapping[int, tuple[int, ...]] | None = None, digest: bytes | None = None
    ) -> bytes:
        """A TPMS_ATTEST over all PCRs, or over those `selected`; `digest` in place of the true one."""
        banks = {bank: tuple(sorted(values)) for bank, values in self.pcrs.items()} if selected is None else selected
        values = b"".join(self.pcrs[bank][index] for bank, pcrs in banks.items() for index in pcrs)
        true = hashlib.new(_HASHES[self.hash].name, values).digest()
        head = TPM_GENERATED_VALUE + TPM_ST_ATTEST_QUOTE + sized(self.name) + sized(nonce)
        clock = (1234).to_bytes(8, "big") + (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + b"\1"
        selections = len(banks).to_bytes(4, "big") + b"".join(_selection(*bank) for bank in banks.items())
        return head + clock + bytes(8) + selections + sized(true if digest is None else digest)

    def sign(self, quote: bytes) -> bytes:
        """A TPMT_SIGNATURE over a quote."""
        head = self.scheme.to_bytes(2, "big") + self.hash.to_bytes(2, "big")
        return head + b"".join(sized(part) for part in self.signature(quote))

    def signature(self, quote: bytes) -> tuple[bytes, ...]:
        """The RSA signature; or r and s."""
        algorithm = _HASHES[self.hash]
        if self.scheme == ECDSA:
            r, s = decode_dss_signature(self._ecc.sign(quote, ec.ECDSA(algorithm)))
            size = (self.curve.key_size + 7) // 8
            return r.to_bytes(size, "big"), s.to_bytes(size, "big")
        pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)
        chosen: padding.AsymmetricPadding = pss if self.scheme == RSAPSS else padding.PKCS1v15()
        return (self._rsa.sign(quote, chosen, algorithm),)

    @property
    def public(self) -> bytes:
        """Its key's TPMT_PUBLIC."""
        ecc = self.scheme == ECDSA
        kind = bytes.fromhex("0023" if ecc else "0001")
        head = kind + SHA256.to_bytes(2, "big") + self.attributes.to_bytes(4, "big") + sized(b"")
        scheme = _NULL + self.scheme.to_bytes(2, "big") + self.hash.to_bytes(2, "big")
        return head + scheme + (self._ecc_part() if ecc else self._rsa_part())

    @property
    def name(self) -> bytes:
        """Its key's Name."""
        return SHA256.to_bytes(2, "big") + hashlib.sha256(self.public).digest()

    @property
    def _ecc(self) -> ec.EllipticCurvePrivateKey:
        return made_key(f"{self.seed} attestation key", self.curve)

    def _ecc_part(self) -> bytes:
        numbers, size = self._ecc.public_key().public_numbers(), (self.curve.key_size + 7) // 8
        curve = bytes.fromhex("0004" if size == 48 else "0003")
        return curve + _NULL + sized(numbers.x.to_bytes(size, "big")) + sized(numbers.y.to_bytes(size, "big"))

    @property
    def _rsa(self) -> RSAPrivateKey:
        return made_rsa_key(f"{self.seed} attestation key")

    @property
    def modulus(self) -> int:
        """Of its RSA key, whose exponent is 65,537."""
        return self._rsa.public_key().public_numbers().n

    def _rsa_part(self) -> bytes:
        return (2048).to_bytes(2, "big") + bytes(4) + sized(self.modulus.to_bytes(256, "big"))


def sized(data: bytes) -> bytes:
    """A TPM2B."""
    return len(data).to_bytes(2, "big") + data


def _selection(bank: int, pcrs: tuple[int, ...]) -> bytes:
    bits = sum(1 << index for index in pcrs)
    return bank.to_bytes(2, "big") + b"\3" + bits.to_bytes(3, "little")
