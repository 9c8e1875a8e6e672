"""What a TDX quote, or an SGX quote, must meet: the part of an appraisal policy for these platforms.

No field has a default. What relaxes is a name of its own: `UnsafeAllow…`, or the word `any` in the place of a list.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats.canonical import Count, Measurement, Seconds
from cloister.formats.policy_expression import Expressions, require_expressions
from cloister.formats.tcb_info import TcbStatus

Ppid = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Fmspc = Annotated[bytes, msgspec.Meta(min_length=6, max_length=6)]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bits = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]  # as the quote has them, little-endian
Advisory = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]+-[A-Z]+-[0-9]{5}\Z")]
Listed = msgspec.Meta(max_length=4096)
Images = msgspec.Meta(max_length=64)
Stance = Literal["required", "allowed", "refused"]
UnsafeTdx = Literal["UnsafeAllowTdDebug", "UnsafeAllowSeptVe", "UnsafeAllowMigratableTd"]
UnsafeSgx = Literal["UnsafeAllowEnclaveDebug"]


class IntelTcbPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which platforms, in which state, as Intel calls it."""

    statuses: tuple[TcbStatus, ...]  # of platform, module and quoting enclave taken together
    # How long ago the oldest of their TCB levels may have been published: `UpToDate` is said for a year or more after.
    maximum_tcb_age_seconds: Seconds
    # Advisories that somebody read and accepts, of those that Intel lists for the levels reached.
    advisories: Annotated[tuple[Advisory, ...], Listed]
    minimum_evaluation_data_number: Count  # of TCB info and QE identity: TCB recoveries before it are not known to them
    ppids: Annotated[tuple[Ppid, ...], Listed] | Literal["any"]  # the platforms themselves
    fmspcs: Annotated[tuple[Fmspc, ...], Listed] | Literal["any"]  # their kinds

    def __post_init__(self) -> None:
        """Refuse to take what Intel has revoked, whose keys anybody may have.

        Raises:
            ValueError: it is among the statuses.
        """
        if TcbStatus.REVOKED in self.statuses:
            raise ValueError("`statuses` takes Revoked, and what Intel revoked proves nothing: take it out")


class TdImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One trust domain by everything that was measured of it; the parts belong together."""

    mr_td: Measurement  # the firmware, as the TD was built
    # RTMR0 to RTMR2: firmware, kernel, initrd and command line. RTMR3 alone would say nothing of who extended it.
    rtmrs: tuple[Measurement, Measurement, Measurement]
    # `workload`: a workload that the reference values name, and nothing else.
    rtmr3: Annotated[tuple[Measurement, ...], Images] | Literal["workload"]
    mr_config_id: Measurement
    mr_owner: Measurement
    mr_owner_config: Measurement


class TdxPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which trust domains, on which platforms."""

    tcb: IntelTcbPolicy
    images: Annotated[tuple[TdImage, ...], Images]  # an empty list takes none
    unsafe: tuple[UnsafeTdx, ...]
    protection_keys: Stance  # TD ATTRIBUTES.PKS
    key_locker: Stance  # KL
    performance_monitoring: Stance  # PERFMON
    other_attributes: Bits  # that may be set besides all of these, such as LASS; never of the group TUD
    xfam_required: Bits
    xfam_allowed: Bits  # and no bit besides
    # MRSERVICETD of the service TDs that may be bound, such as a migration TD; none bound is always taken.
    service_tds: Annotated[tuple[Measurement, ...], Images]
    # A TD report 1.0 (all quotes of version 4) does not say which service TD is bound. `accept` takes its silence for a
    # TD that is not migratable.
    unreported_service_td: Literal["refuse", "accept"]
    expressions: Expressions  # that have to be true of what it says, besides; docs/formats/expressions.md

    def __post_init__(self) -> None:
        """Refuse what is no expression.

        Raises:
            ValueError: which, and why.
        """
        require_expressions(self.expressions)


class SgxPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which enclaves, on which platforms."""

    tcb: IntelTcbPolicy
    enclaves: Annotated[tuple[Digest, ...], Images]  # MRENCLAVE
    unsafe: tuple[UnsafeSgx, ...]
