"""What SEV-SNP evidence must meet: the part of an appraisal policy for this platform.

Every field is stated; no list has a default, and an empty one allows nothing. `any` is written where anything will do.
What should never be accepted outside of a laboratory is spelled `Unsafe…`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats.canonical import Measurement
from cloister.formats.policy_expression import Expressions, require_expressions
from cloister.formats.snp_tcb import Product, Tcb

Demand = Literal["required", "forbidden", "either"]  # of one bit
UnsafeSnp = Literal["UnsafeAllowSnpDebug", "UnsafeAllowSnpMigrationAgent", "UnsafeAllowSnpWithoutRevocation"]

Level = Annotated[int, msgspec.Meta(ge=0, le=255)]
ChipId = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]  # as reports carry it
HostData = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Vector = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
CspId = Annotated[str, msgspec.Meta(min_length=1, max_length=127)]


class SnpMinimum(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The lowest TCB of one product that is taken, in each component by itself."""

    product: Product
    fmc: Level  # 0 but for Turin, which alone has one
    bootloader: Level
    tee: Level
    snp: Level
    microcode: Level

    def __post_init__(self) -> None:
        """Refuse a demand that nothing would be held against.

        Raises:
            ValueError: an FMC of a product that has none.
        """
        if self.fmc and self.product is not Product.TURIN:
            raise ValueError(f"{self.product} has no FMC: write 0")

    def tcb(self) -> Tcb:
        """The same, to compare with."""
        fmc = self.fmc if self.product is Product.TURIN else None
        return Tcb(fmc, self.bootloader, self.tee, self.snp, self.microcode)


class SnpGuestBits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What POLICY must say (AMD 56860, section 4.3). DEBUG and MIGRATE_MA are not here: they are never wanted."""

    smt: Demand
    single_socket: Demand
    cxl_allow: Demand
    mem_aes_256_xts: Demand
    rapl_dis: Demand
    ciphertext_hiding_dram: Demand
    page_swap_disable: Demand


class SnpPlatformBits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What PLATFORM_INFO must say (AMD 56860, table 24)."""

    smt_en: Demand
    tsme_en: Demand
    ecc_en: Demand
    rapl_dis: Demand
    ciphertext_hiding_dram_en: Demand
    alias_check_complete: Demand  # no two addresses of one memory cell: BadRAM, AMD-SB-3015
    tio_en: Demand


class SnpPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an SEV-SNP report must meet."""

    version: Literal[1] = 1
    unsafe: tuple[UnsafeSnp, ...]
    signing_keys: tuple[Literal["VCEK", "VLEK"], ...]
    csp_ids: tuple[CspId, ...] | Literal["any"]  # whose VLEKs are taken
    vmpls: tuple[Annotated[int, msgspec.Meta(ge=0, le=3)], ...]
    minimum_abi: tuple[Level, Level]  # that the guest demands of the firmware: major, minor
    minimum_firmware: tuple[Level, Level, Level]  # committed: major, minor, build
    minimum_tcbs: tuple[SnpMinimum, ...]  # a product without one is not taken
    guest: SnpGuestBits
    platform: SnpPlatformBits
    mitigations: Vector  # bits that both mitigation vectors must have; 0 demands none
    chip_ids: tuple[ChipId, ...] | Literal["any"]
    measurements: tuple[Measurement, ...]  # at launch
    host_data: tuple[HostData, ...] | Literal["any"]
    id_key_digests: tuple[Measurement, ...] | Literal["any"]  # zeros: started without an identity block
    author_key_digests: tuple[Measurement, ...] | Literal["any"]
    minimum_guest_svn: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    expressions: Expressions  # that have to be true of what it says, besides; docs/formats/expressions.md

    def __post_init__(self) -> None:
        """Refuse what is no expression.

        Raises:
            ValueError: which, and why.
        """
        require_expressions(self.expressions)


class SnpImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A launch measurement, and the workload that lies in the dm-verity root that its command line names."""

    measurement: Measurement
    workload: Measurement
