"""How sentences about a policy are gathered: what it takes on one side, what it lets pass on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from cloister.formats.evidence import Unsafe

UNSAFE: Final[Mapping[Unsafe, str]] = MappingProxyType(
    {
        "UnsafeAllowSoftwareTee": "the software TEE is taken, which protects nothing from its machine's owner",
        "UnsafeAllowOtherRoots": "roots other than the vendors' are taken: made-up hardware passes for hardware",
        "UnsafeAllowSnpDebug": "SEV-SNP guests are taken whose memory the host can read",
        "UnsafeAllowSnpMigrationAgent": "SEV-SNP guests are taken that an agent may move to machines nobody examined",
        "UnsafeAllowSnpWithoutRevocation": "keys that AMD revoked are taken: no revocation list is asked for",
        "UnsafeAllowTdDebug": "trust domains are taken that the host can read or profile",
        "UnsafeAllowSeptVe": "trust domains are taken in which the host can raise exceptions at any page",
        "UnsafeAllowMigratableTd": "trust domains are taken that may be moved to other platforms",
        "UnsafeAllowUncheckedRevocation": "NVIDIA's certificates are taken without asking whether they were revoked",
        "UnsafeAllowUnmeasuredGpu": "GPUs are taken whose firmware is held against no manifest of NVIDIA's",
        "UnsafeAllowUnattestedSwitches": "GPUs send data in the clear to switches that nobody examined",
    }
)


# What is demanded of every platform that a policy takes, unless the exception of that name stands in its part.
STRICT: Final[Mapping[Unsafe, str]] = MappingProxyType(
    {
        "UnsafeAllowSnpDebug": "A guest whose memory the host can read (DEBUG) is refused.",
        "UnsafeAllowSnpMigrationAgent": "A guest that an agent may move to another machine (MIGRATE_MA) is refused.",
        "UnsafeAllowSnpWithoutRevocation": "AMD's revocation list, in date, has to be there and not name the key.",
        "UnsafeAllowTdDebug": "A trust domain that the host can read or profile (DEBUG) is refused.",
        "UnsafeAllowSeptVe": "A trust domain without SEPT_VE_DISABLE is refused: the host could raise exceptions.",
        "UnsafeAllowMigratableTd": "A trust domain that may be moved to another platform (MIGRATABLE) is refused.",
        "UnsafeAllowUncheckedRevocation": "NVIDIA's OCSP answers, in date, have to say that nothing was revoked.",
        "UnsafeAllowUnmeasuredGpu": "Driver and firmware have to measure as NVIDIA's signed manifests say.",
        "UnsafeAllowUnattestedSwitches": "GPUs that send data in the clear over switches bring the switches' evidence.",
    }
)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence about a key of the policy."""

    key: str
    says: str


@dataclass(frozen=True, slots=True)
class Words:
    """Sentences of one platform, in the policy's order."""

    takes: list[Said] = field(default_factory=list)
    relaxes: list[Said] = field(default_factory=list)
    denies: list[str] = field(default_factory=list)  # keys of lists that are empty, so that nothing passes

    def strict(self, key: str, relaxed: Sequence[Unsafe], possible: Sequence[Unsafe]) -> None:
        """What is demanded where nothing relaxes it, and what is relaxed."""
        for flag in possible:
            if flag not in relaxed:
                self.take(key, STRICT[flag])
        for flag in relaxed:
            self.relax(key, f"{flag}: {UNSAFE[flag]}.")

    def take(self, key: str, says: str) -> None:
        """Say what is demanded."""
        self.takes.append(Said(key=key, says=says))

    def relax(self, key: str, says: str) -> None:
        """Say what is not checked, or accepted though it is worse than it could be."""
        self.relaxes.append(Said(key=key, says=says))

    def listed(self, key: str, value: Sequence[object] | Literal["any"], what: str, unchecked: str) -> None:
        """A list, of which a value has to be one; `any` lets everything pass."""
        if value == "any":
            self.relax(key, unchecked)
        else:
            self.named(key, value, what, "taken")

    def named(self, key: str, values: Sequence[object], what: str, how: str) -> None:
        """A list of what is accepted; an empty one lets nothing pass."""
        if values:
            number = f"{len(values)} {what} is" if len(values) == 1 else f"{len(values)} {what}s are"
            self.take(key, f"{number} {how}.")
        else:
            self.denies.append(key)
            self.take(key, f"No {what} is named: nothing passes.")

    def asked(self, key: str, expressions: Sequence[str]) -> None:
        """What has to be true besides."""
        for one in expressions:
            self.take(key, f"True of it: {one}.")
        if not expressions:
            self.take(key, "Nothing more is asked in expressions.")

    def demanded(self, key: str, demand: str, what: str) -> None:
        """A bit: required, forbidden, or let pass either way."""
        if demand in ("either", "allowed"):
            self.relax(key, f"Not looked at: {what}.")
        else:
            self.take(key, f"{demand[:1].upper()}{demand[1:]}: {what}.")
