"""A made-up AMD: root keys, chips, clouds and SEV-SNP reports from a seed. Nothing that AMD vouches for.

Endorsement keys are derived from chip and TCB, as in hardware: a certificate for another TCB is one of another key.
Production code accepts these reports only where `roots` of this module are given to it in place of AMD's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from cloister.attest.snp.authentic import SnpEndorsements
from cloister.attest.snp.endorsement_key import (
    CSP_ID,
    HARDWARE_ID,
    PRODUCT_NAME,
    RESERVED_LEVELS,
    SECURITY_PATCH_LEVELS,
)
from cloister.formats.snp_policy import SnpGuestBits, SnpMinimum, SnpPlatformBits, SnpPolicy
from cloister.formats.snp_report import GuestPolicy, PlatformInfo, SigningKey, SnpReport
from cloister.formats.snp_tcb import Product, Tcb
from cloister.testing.certificates import Authority, Life, made_key
from cloister.testing.snp_bits import demand_bits

CSP: Final = "CN=a made-up cloud"
LIFE: Final = Life(1_799_000_000, 1_801_000_000)
_CPUIDS: Final = {Product.MILAN: (0x19, 0x01, 1), Product.GENOA: (0x19, 0x11, 1), Product.TURIN: (0x1A, 0x02, 1)}
_ASK: Final = {SigningKey.VCEK: "SEV-{}", SigningKey.VLEK: "SEV-VLEK-{}"}


@dataclass(frozen=True, slots=True)
class SnpHardware:
    """One chip of a product, and the vendor behind it."""

    product: Product = Product.MILAN
    seed: str = "made-up"
    chip: str = "first"
    life: Life = LIFE

    @property
    def root(self) -> Authority:
        """The product's root key, ARK."""
        return Authority.root(f"ARK-{self.product}", self.life, key=made_key(f"{self.seed} ARK-{self.product}"))

    @property
    def roots(self) -> Mapping[Product, bytes]:
        """What to pin in place of AMD's."""
        return {self.product: self.root.pin}

    @property
    def chip_id(self) -> bytes:
        """64 bytes; Turin's has 8 and zeros."""
        number = made_key(f"{self.seed} chip {self.chip}").private_numbers().private_value
        identifier = number.to_bytes(48, "big") + bytes(range(1, 17))
        return identifier if self.product is not Product.TURIN else identifier[-8:].ljust(64, b"\0")

    @property
    def tcb(self) -> Tcb:
        """What it reports, if nothing else is said."""
        return Tcb(1 if self.product is Product.TURIN else None, 4, 0, 24, 219)

    def report(self, version: int = 5) -> SnpReport:
        """A good one; change what you like with `dataclasses.replace`."""
        tcb = self.tcb.encode(self.product)
        return SnpReport(
            version=version,
            guest_svn=3,
            policy=GuestPolicy(1 << 17 | 1 << 16 | 1 << 8),
            family_id=b"f" * 16,
            image_id=b"i" * 16,
            vmpl=0,
            current_tcb=tcb,
            platform_info=PlatformInfo(0b100101),
            author_key_en=True,
            mask_chip_key=False,
            signing_key=SigningKey.VCEK,
            report_data=b"guest's own bytes, all 64 of them".ljust(64, b"."),
            measurement=b"m" * 48,
            host_data=b"h" * 32,
            id_key_digest=b"k" * 48,
            author_key_digest=b"a" * 48,
            report_id=b"r" * 32,
            report_id_ma=b"\xff" * 32,
            reported_tcb=tcb,
            cpuid=None if version < 3 else _CPUIDS[self.product],
            chip_id=self.chip_id,
            committed_tcb=tcb,
            current_firmware=(1, 55, 40),
            committed_firmware=(1, 55, 39),
            launch_tcb=tcb,
            launch_mit_vector=None if version < 5 else 3,
            current_mit_vector=None if version < 5 else 7,
        )

    def policy(self) -> SnpPolicy:
        """The tightest that its good report meets; relax it with `msgspec.structs.replace`."""
        report = self.report()
        tcb = self.tcb
        return SnpPolicy(
            unsafe=(),
            signing_keys=("VCEK",),
            csp_ids=(),
            vmpls=(0,),
            minimum_abi=report.policy.abi,
            minimum_firmware=report.committed_firmware,
            minimum_tcbs=(
                SnpMinimum(
                    product=self.product,
                    fmc=tcb.fmc or 0,
                    bootloader=tcb.bootloader,
                    tee=tcb.tee,
                    snp=tcb.snp,
                    microcode=tcb.microcode,
                ),
            ),
            guest=demand_bits(SnpGuestBits, "forbidden", smt="required"),
            platform=demand_bits(
                SnpPlatformBits, "forbidden", smt_en="required", ecc_en="required", alias_check_complete="required"
            ),
            mitigations=3,
            chip_ids=(report.chip_id,),
            measurements=(report.measurement,),
            host_data=(report.host_data,),
            id_key_digests=(report.id_key_digest,),
            author_key_digests=(report.author_key_digest,),
            minimum_guest_svn=report.guest_svn,
            expressions=(),
        )

    def sign(self, report: SnpReport, *, tcb: Tcb | None = None) -> bytes:
        """The report's 1,184 bytes, signed with the key of this chip, or its cloud, at its TCB."""
        signed = encode_report(report)
        key = self.key(report.signing_key, tcb or self.tcb)
        r, s = decode_dss_signature(key.sign(signed, ECDSA(SHA384())))
        return signed + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)

    def key(self, kind: SigningKey, tcb: Tcb) -> EllipticCurvePrivateKey:
        """The VCEK or VLEK at a TCB."""
        holder = f"chip {self.chip}" if kind is SigningKey.VCEK else CSP
        return made_key(f"{self.seed} {kind.name} of {holder} at {tcb}")

    def issuer(self, kind: SigningKey) -> Authority:
        """The ASK for a VCEK, the ASVK for a VLEK."""
        return self.root.authority(_ASK[kind].format(self.product), self.life)

    def certificate(
        self,
        kind: SigningKey = SigningKey.VCEK,
        *,
        tcb: Tcb | None = None,
        issuer: Authority | None = None,
        values: Mapping[str, bytes | None] | None = None,
    ) -> bytes:
        """A VCEK's or VLEK's, in DER. `values` replaces AMD's extensions by their object ids; None leaves one out."""
        level = tcb or self.tcb
        extensions = {**self._extensions(kind, level), **(values or {})}
        return (
            (issuer or self.issuer(kind))
            .issue(
                f"SEV-{kind.name}",
                self.key(kind, level).public_key(),
                self.life,
                [
                    (x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), False)
                    for oid, value in extensions.items()
                    if value is not None
                ],
            )
            .public_bytes(Encoding.DER)
        )

    def endorsements(
        self, kind: SigningKey = SigningKey.VCEK, *, certificate: bytes | None = None, issuer: Authority | None = None
    ) -> SnpEndorsements:
        """The chain of this chip's key, or its cloud's, and a revocation list that names nobody."""
        own = certificate or self.certificate(kind)
        above = (one.public_bytes(Encoding.DER) for one in (issuer or self.issuer(kind)).chain)
        return SnpEndorsements((own, *above), (self.root.revocations([], self.life),))

    def _extensions(self, kind: SigningKey, tcb: Tcb) -> dict[str, bytes]:
        levels = {SECURITY_PATCH_LEVELS[name]: der_integer(level) for name, level in tcb.levels().items()}
        name = {Product.MILAN: b"Milan-B0", Product.GENOA: b"Genoa", Product.TURIN: b"Turin"}[self.product]
        common = {PRODUCT_NAME: der_text(name), **levels, **dict.fromkeys(RESERVED_LEVELS, der_integer(0))}
        if kind is SigningKey.VLEK:
            return {**common, CSP_ID: der_text(CSP.encode())}
        return {**common, HARDWARE_ID: self.chip_id[: 8 if self.product is Product.TURIN else 64]}


def der_integer(number: int) -> bytes:
    """A DER INTEGER from 0 to 32,767."""
    return bytes((2, 1, number)) if number < 0x80 else bytes((2, 2, *number.to_bytes(2, "big")))


def der_text(text: bytes) -> bytes:
    """A DER IA5String."""
    return bytes((0x16, len(text))) + text


def encode_report(report: SnpReport) -> bytes:
    """The 672 bytes that are signed."""
    keys = report.author_key_en | report.mask_chip_key << 1 | report.signing_key << 2
    cpuid = bytes(report.cpuid or ())
    vectors = (report.launch_mit_vector or 0, report.current_mit_vector or 0)
    return b"".join(
        (
            *(number.to_bytes(4, "little") for number in (report.version, report.guest_svn)),
            report.policy.bits.to_bytes(8, "little"),
            report.family_id,
            report.image_id,
            *(number.to_bytes(4, "little") for number in (report.vmpl, 1)),
            report.current_tcb,
            report.platform_info.bits.to_bytes(8, "little"),
            keys.to_bytes(8, "little"),
            report.report_data,
            report.measurement,
            report.host_data,
            report.id_key_digest,
            report.author_key_digest,
            report.report_id,
            report.report_id_ma,
            report.reported_tcb,
            cpuid.ljust(24, b"\0"),
            report.chip_id,
            report.committed_tcb,
            *(bytes((*reversed(version), 0)) for version in (report.current_firmware, report.committed_firmware)),
            report.launch_tcb,
            *(vector.to_bytes(8, "little") for vector in vectors),
            bytes(152),
        )
    )


def certificate_table(entries: Mapping[UUID, bytes]) -> bytes:
    """What a host lays beside a report: a table of GUIDs, and behind it what they stand for."""
    at, head = 24 * (len(entries) + 1), b""
    for kind, data in entries.items():
        head += kind.bytes + at.to_bytes(4, "little") + len(data).to_bytes(4, "little")
        at += len(data)
    return head + bytes(24) + b"".join(entries.values())
