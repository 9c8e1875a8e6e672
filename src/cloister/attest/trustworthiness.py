"""What an appraisal that passed says in AR4SI's words: the trustworthiness vector of each platform and of GPUs.

A token is made only where every step passed, so a vector never says that evidence failed. What an exception lets
through is said in the claims that it bears on, and those are what who accepts the exception by name accepts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from cloister.formats.evidence import Unsafe
from cloister.formats.trustworthiness import TrustworthinessVector, tier, worst

GPU: Final = "gpu"  # beside the names of platforms

_SNP: Final = frozenset({"snp", "azure-snp"})
_TDX: Final = frozenset({"tdx", "azure-tdx"})
_HARDWARE: Final = _SNP | _TDX | {"nitro", GPU}

# draft-ietf-rats-ar4si-09 section 2.3.4; below -32 are warnings of our own
_VULNERABLE: Final = 32  # of a configuration: known vulnerabilities
_UNRECOGNIZED_CODE: Final = 33
_VISIBLE: Final = 96  # memory, to the host
_UNRECOGNIZED_HARDWARE: Final = 97
_NOT_ASKED_IF_REVOKED: Final = -33
_MOVABLE: Final = -34  # what is in memory may be handed to another machine


class Weakened(NamedTuple):
    """What an exception makes of a claim, on which platforms."""

    flag: Unsafe
    on: frozenset[str]
    claim: str
    value: int


WEAKENED: Final = (
    Weakened("UnsafeAllowSoftwareTee", frozenset({"software"}), "hardware", _UNRECOGNIZED_HARDWARE),
    Weakened("UnsafeAllowSoftwareTee", frozenset({"software"}), "runtime_opaque", _VISIBLE),
    Weakened("UnsafeAllowOtherRoots", _HARDWARE, "hardware", _UNRECOGNIZED_HARDWARE),
    Weakened("UnsafeAllowSnpDebug", _SNP, "runtime_opaque", _VISIBLE),
    Weakened("UnsafeAllowSnpMigrationAgent", _SNP, "runtime_opaque", _MOVABLE),
    Weakened("UnsafeAllowSnpWithoutRevocation", _SNP, "hardware", _NOT_ASKED_IF_REVOKED),
    Weakened("UnsafeAllowTdDebug", _TDX, "runtime_opaque", _VISIBLE),
    Weakened("UnsafeAllowSeptVe", _TDX, "configuration", _VULNERABLE),
    Weakened("UnsafeAllowMigratableTd", _TDX, "runtime_opaque", _MOVABLE),
    Weakened("UnsafeAllowUncheckedRevocation", frozenset({GPU}), "hardware", _NOT_ASKED_IF_REVOKED),
    Weakened("UnsafeAllowUnmeasuredGpu", frozenset({GPU}), "executables", _UNRECOGNIZED_CODE),
    Weakened("UnsafeAllowUnattestedSwitches", frozenset({GPU}), "runtime_opaque", _VISIBLE),
)

_PASSED: Final = TrustworthinessVector(
    instance_identity=0,  # no claim: single chips are the policy's to list, and it need not
    configuration=2,  # known and approved
    executables=3,  # what was loaded at the start is recognised; a measurement says nothing of later
    file_system=0,
    hardware=2,  # genuine and supported
    runtime_opaque=2,  # encrypted, within a TEE
    storage_opaque=0,
    sourced_data=0,
)


def passed_vector(attester: str, unsafe: Iterable[str]) -> TrustworthinessVector:
    """What passing means on the platform `attester`, or on a GPU, under the exceptions `unsafe`."""
    flags = set(unsafe)
    found: dict[str, int] = {}
    for row in WEAKENED:
        if row.flag in flags and attester in row.on:
            found[row.claim] = _worse(found.get(row.claim, row.value), row.value)
    return msgspec.structs.replace(_PASSED, **found)


def explained(attester: str, unsafe: Iterable[str]) -> frozenset[tuple[str, int]]:
    """The claims and values that the exceptions `unsafe` account for on `attester`."""
    flags = set(unsafe)
    return frozenset((row.claim, row.value) for row in WEAKENED if row.flag in flags and attester in row.on)


def _worse(one: int, other: int) -> int:
    return one if worst((tier(one), tier(other))) == tier(one) else other
