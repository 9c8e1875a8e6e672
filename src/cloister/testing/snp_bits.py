"""Demands on many bits of SEV-SNP at a time, for policies in which every bit has to be stated."""

from __future__ import annotations

from typing import TypeVar

from cloister.formats.snp_policy import Demand, SnpGuestBits, SnpPlatformBits

Bits = TypeVar("Bits", SnpGuestBits, SnpPlatformBits)


def demand_bits(kind: type[Bits], others: Demand, **named: Demand) -> Bits:
    """What each bit must say: those `named` as they are, all `others` alike."""
    return kind(**{**dict.fromkeys(kind.__struct_fields__, others), **named})
