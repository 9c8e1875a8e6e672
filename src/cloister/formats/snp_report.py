"""Attestation reports of AMD SEV-SNP guests, versions 2 to 5 (AMD 56860, section 7.3, table 23).

The secure processor signs the first 672 bytes; the type of what it signed, `SnpReport`, holds nothing else. Fields have
the manual's names. Version 3 added the CPUID fields, version 5 the mitigation vectors; what version 4 added AMD has not
published, so it reads as version 3. Which processor made a report of version 2, only its certificate says: TCB versions
stay bytes here, since their form differs by product.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cloister.errors import MalformedInput
from cloister.formats.snp_tcb import TCB_SIZE, Product, product_of_cpuid

REPORT_SIZE: Final = 0x4A0
SIGNED_SIZE: Final = 0x2A0
VERSIONS: Final = (2, 3, 4, 5)
HOST_VMPL: Final = 0xFFFFFFFF  # the host asked for the report (SNP_HV_REPORT_REQ), not the guest
_ECDSA_P384_SHA384: Final = 1  # table 138
_NUMBER: Final = 72  # bytes of r and of s, little-endian (table 139)


class SigningKey(IntEnum):
    """SIGNING_KEY: which key signed."""

    VCEK = 0
    VLEK = 1
    NONE = 7


@dataclass(frozen=True, slots=True)
class GuestPolicy:
    """POLICY: what the guest's owner demanded of the firmware (section 4.3, table 9)."""

    bits: int

    @property
    def abi(self) -> tuple[int, int]:
        """ABI_MAJOR and ABI_MINOR: the least firmware ABI that the guest runs on."""
        return self.bits >> 8 & 0xFF, self.bits & 0xFF

    def allows(self, name: str) -> bool:
        """Whether the bit of this name is set."""
        return bool(self.bits >> POLICY_BITS[name] & 1)


POLICY_BITS: Final = {
    "SMT": 16,
    "MIGRATE_MA": 18,
    "DEBUG": 19,
    "SINGLE_SOCKET": 20,
    "CXL_ALLOW": 21,
    "MEM_AES_256_XTS": 22,
    "RAPL_DIS": 23,
    "CIPHERTEXT_HIDING_DRAM": 24,
    "PAGE_SWAP_DISABLE": 25,
}
_ALWAYS_ONE: Final = 1 << 17
_POLICY_RESERVED: Final = ~((1 << 26) - 1)

PLATFORM_BITS: Final = {
    "SMT_EN": 0,
    "TSME_EN": 1,
    "ECC_EN": 2,
    "RAPL_DIS": 3,
    "CIPHERTEXT_HIDING_DRAM_EN": 4,
    "ALIAS_CHECK_COMPLETE": 5,
    "TIO_EN": 7,
}


@dataclass(frozen=True, slots=True)
class PlatformInfo:
    """PLATFORM_INFO: how the machine is set up (table 24). Bits without a name here demand nothing."""

    bits: int

    def has(self, name: str) -> bool:
        """Whether the bit of this name is set."""
        return bool(self.bits >> PLATFORM_BITS[name] & 1)


@dataclass(frozen=True, slots=True)
class SnpReport:
    """What the secure processor signed, as parsed. Nothing in it is trusted yet."""

    version: int
    guest_svn: int
    policy: GuestPolicy
    family_id: bytes  # 16
    image_id: bytes  # 16
    vmpl: int  # 0 to 3, or HOST_VMPL
    current_tcb: bytes  # 8
    platform_info: PlatformInfo
    author_key_en: bool
    mask_chip_key: bool
    signing_key: SigningKey
    report_data: bytes  # 64, the guest's
    measurement: bytes  # 48, SHA-384 of the guest's memory at launch
    host_data: bytes  # 32, the host's, at launch
    id_key_digest: bytes  # 48
    author_key_digest: bytes  # 48
    report_id: bytes  # 32
    report_id_ma: bytes  # 32
    reported_tcb: bytes  # 8
    cpuid: tuple[int, int, int] | None  # family, model, stepping; from version 3
    chip_id: bytes  # 64; zero where the host masked it, and with a VLEK
    committed_tcb: bytes  # 8
    current_firmware: tuple[int, int, int]  # major, minor, build
    committed_firmware: tuple[int, int, int]
    launch_tcb: bytes  # 8
    launch_mit_vector: int | None  # from version 5
    current_mit_vector: int | None

    @property
    def product(self) -> Product | None:
        """The product by its CPUID fields; nothing for version 2, or for one that we do not know."""
        return None if self.cpuid is None else product_of_cpuid(self.cpuid[0], self.cpuid[1])


@dataclass(frozen=True, slots=True)
class SignedSnpReport:
    """A report with its signature, neither of them checked."""

    report: SnpReport
    signed: bytes  # 672, what the signature is over
    r: int
    s: int


def parse_snp_report(data: bytes) -> SignedSnpReport:
    """Parse a report of exactly 1,184 bytes.

    Raises:
        MalformedInput: another size, version or signature algorithm, or a reserved field that is not what it must be.
    """
    if len(data) != REPORT_SIZE:
        raise MalformedInput(f"an SNP report has {REPORT_SIZE} bytes, not {len(data)}")
    version = _number(data, 0x000, 4)
    if version not in VERSIONS:
        raise MalformedInput(f"SNP report of version {version}; known are {VERSIONS[0]} to {VERSIONS[-1]}")
    if _number(data, 0x034, 4) != _ECDSA_P384_SHA384:
        raise MalformedInput(f"SIGNATURE_ALGO {_number(data, 0x034, 4)} is not ECDSA P-384 with SHA-384, which is 1")
    _require_reserved(data, version)
    report = _report(data, version)
    r, s = _number(data, SIGNED_SIZE, _NUMBER), _number(data, SIGNED_SIZE + _NUMBER, _NUMBER)
    return SignedSnpReport(report, data[:SIGNED_SIZE], r, s)


def _require_reserved(data: bytes, version: int) -> None:
    """What the manual says must be zero, or one; so that no two reports of one meaning have different bytes.

    Raises:
        MalformedInput: which of them is not.
    """
    behind_r, behind_s = SIGNED_SIZE + 48, SIGNED_SIZE + _NUMBER + 48
    for first, last in (
        (0x04C, 0x050),
        (0x188 if version < 3 else 0x18B, 0x1A0),
        (0x1EB, 0x1EC),
        (0x1EF, 0x1F0),
        (0x1F8 if version < 5 else 0x208, SIGNED_SIZE),
        (behind_r, SIGNED_SIZE + _NUMBER),  # numbers of P-384 have 48 bytes
        (behind_s, REPORT_SIZE),
    ):
        if any(data[first:last]):
            raise MalformedInput(f"reserved bytes {first:#x} to {last - 1:#x} of the SNP report are not zero")
    policy = _number(data, 0x008, 8)
    if policy & _POLICY_RESERVED or not policy & _ALWAYS_ONE:
        raise MalformedInput(f"POLICY {policy:#x}: bits 26 to 63 must be zero, and bit 17 one")
    if _number(data, 0x048, 4) >> 5:
        raise MalformedInput("bits 5 to 31 of the SNP report's key information are not zero")


def _report(data: bytes, version: int) -> SnpReport:
    keys = _number(data, 0x048, 4)
    vmpl, signer = _number(data, 0x030, 4), keys >> 2 & 7
    if vmpl > 3 and vmpl != HOST_VMPL:
        raise MalformedInput(f"VMPL {vmpl}: there are 0 to 3")
    if signer not in tuple(SigningKey):
        raise MalformedInput(f"SIGNING_KEY {signer} is reserved")
    return SnpReport(
        version=version,
        guest_svn=_number(data, 0x004, 4),
        policy=GuestPolicy(_number(data, 0x008, 8)),
        family_id=data[0x010:0x020],
        image_id=data[0x020:0x030],
        vmpl=vmpl,
        current_tcb=_tcb(data, 0x038),
        platform_info=PlatformInfo(_number(data, 0x040, 8)),
        author_key_en=bool(keys & 1),
        mask_chip_key=bool(keys & 2),
        signing_key=SigningKey(signer),
        report_data=data[0x050:0x090],
        measurement=data[0x090:0x0C0],
        host_data=data[0x0C0:0x0E0],
        id_key_digest=data[0x0E0:0x110],
        author_key_digest=data[0x110:0x140],
        report_id=data[0x140:0x160],
        report_id_ma=data[0x160:0x180],
        reported_tcb=_tcb(data, 0x180),
        cpuid=None if version < 3 else (data[0x188], data[0x189], data[0x18A]),
        chip_id=data[0x1A0:0x1E0],
        committed_tcb=_tcb(data, 0x1E0),
        current_firmware=(data[0x1EA], data[0x1E9], data[0x1E8]),
        committed_firmware=(data[0x1EE], data[0x1ED], data[0x1EC]),
        launch_tcb=_tcb(data, 0x1F0),
        launch_mit_vector=None if version < 5 else _number(data, 0x1F8, 8),
        current_mit_vector=None if version < 5 else _number(data, 0x200, 8),
    )


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _tcb(data: bytes, at: int) -> bytes:
    return data[at : at + TCB_SIZE]
