"""AR4SI's view of an attester: eight claims of one byte each, in four tiers (draft-ietf-rats-ar4si section 2.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec

Tier = Literal["none", "affirming", "warning", "contraindicated"]
Claim = Annotated[int, msgspec.Meta(ge=-128, le=127)]

_WORST_FIRST: Final[tuple[Tier, ...]] = ("contraindicated", "warning", "affirming")


class TrustworthinessVector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """One claim for each aspect; 0 says that nothing is claimed, and is written rather than left out."""

    instance_identity: Claim
    configuration: Claim
    executables: Claim
    file_system: Claim
    hardware: Claim
    runtime_opaque: Claim
    storage_opaque: Claim
    sourced_data: Claim

    def tiers(self) -> dict[str, Tier]:
        """The tier of each claim, by its field."""
        return {name: tier(getattr(self, name)) for name in self.__struct_fields__}

    def status(self) -> Tier:
        """The tier of the whole: that of its worst claim."""
        return worst(self.tiers().values())


def tier(claim: int) -> Tier:
    """The tier of a claim's value, -128 to 127 (section 2.3.2); negative ones are a verifier's own reasons."""
    reason = claim if claim >= 0 else -claim - 1  # -2 to -32 lie with 2 to 31 from 1 on; -1 is a malfunction
    if claim in (-1, 0, 1):
        return "none"
    if reason < 32:
        return "affirming"
    return "warning" if reason < 96 else "contraindicated"


def worst(tiers: Iterable[Tier]) -> Tier:
    """The least trusted of `tiers`; aspects of which nothing is claimed do not count, unless there are no others."""
    found = set(tiers)
    return next((one for one in _WORST_FIRST if one in found), "none")
