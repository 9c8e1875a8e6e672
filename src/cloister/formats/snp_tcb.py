"""TCB versions of AMD SEV-SNP platforms: which firmware runs, in components that differ by product.

AMD 56860 (SEV-SNP firmware ABI), section 2.2, table 3: Milan and Genoa; and its Turin form, which begins with the FMC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cloister.errors import MalformedInput

TCB_SIZE: Final = 8  # bytes


class Product(StrEnum):
    """A line of processors with a root key and a form of TCB version of its own (AMD 57230, section 3)."""

    MILAN = "Milan"
    GENOA = "Genoa"  # Bergamo and Siena too
    TURIN = "Turin"


_BEFORE_TURIN: Final = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_LAYOUTS: Final[Mapping[Product, Mapping[str, int]]] = {
    Product.MILAN: _BEFORE_TURIN,
    Product.GENOA: _BEFORE_TURIN,
    Product.TURIN: {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7},
}
_NAMES: Final = {
    "Milan": Product.MILAN,
    "Genoa": Product.GENOA,
    "Bergamo": Product.GENOA,
    "Siena": Product.GENOA,
    "Turin": Product.TURIN,
}


@dataclass(frozen=True, slots=True)
class Tcb:
    """One TCB version: security patch levels, each 0 to 255. Newer is higher, in each component by itself."""

    fmc: int | None  # Turin only
    bootloader: int
    tee: int
    snp: int
    microcode: int

    @classmethod
    def parse(cls, data: bytes, product: Product) -> Tcb:
        """The 8 bytes of a report as this product has them.

        Raises:
            MalformedInput: another size, or a reserved byte is not zero.
        """
        layout = _LAYOUTS[product]
        if len(data) != TCB_SIZE:
            raise MalformedInput(f"a TCB version has {TCB_SIZE} bytes, not {len(data)}")
        if any(byte for at, byte in enumerate(data) if at not in layout.values()):
            raise MalformedInput(f"TCB version {data.hex()} has reserved bytes of {product} that are not zero")
        levels = {name: data[at] for name, at in layout.items()}
        return cls(levels.get("fmc"), levels["bootloader"], levels["tee"], levels["snp"], levels["microcode"])

    def encode(self, product: Product) -> bytes:
        """The 8 bytes of a report of this product."""
        levels = self.levels()
        return bytes(
            next((levels[name] for name, place in _LAYOUTS[product].items() if place == at), 0)
            for at in range(TCB_SIZE)
        )

    def levels(self) -> dict[str, int]:
        """Each component that this product has, by its name."""
        named = {"bootloader": self.bootloader, "tee": self.tee, "snp": self.snp, "microcode": self.microcode}
        return named if self.fmc is None else {"fmc": self.fmc, **named}

    def below(self, minimum: Tcb) -> list[str]:
        """What is too low, as people read it: `microcode 115 is below 219`. Nothing stands in for another component."""
        own = self.levels()
        return [
            f"{name} {own[name]} is below {level}" if name in own else f"there is no {name}, and {level} is demanded"
            for name, level in minimum.levels().items()
            if own.get(name, -1) < level
        ]

    def __str__(self) -> str:
        return ", ".join(f"{name} {level}" for name, level in self.levels().items())


def product_of_cpuid(family: int, model: int) -> Product | None:
    """The product that reports of version 3 and above name by CPUID Fn0000_0001; nothing where we know none."""
    match family, model >> 4:
        case 0x19, 0x0:
            return Product.MILAN
        case 0x19, 0x1 | 0xA:  # 0xA0: Bergamo, Siena
            return Product.GENOA
        case 0x1A, 0x0 | 0x1:
            return Product.TURIN
    return None


def product_of_name(name: str) -> Product | None:
    """The product that a certificate names, with its stepping or without: `Milan-B0`, `Genoa`."""
    return _NAMES.get(name.partition("-")[0])
