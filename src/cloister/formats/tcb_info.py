"""What Intel signs about platforms and quoting enclaves: TCB info (versions 2 and 3) and enclave identity (version 2).

Source: Intel SGX and TDX Provisioning Certification Service API v4, "Get SGX TCB Info", "Get TDX TCB Info", "Get Quote
Identity" and appendices. The signature is over the bytes of the JSON object as they stand in the document: nothing is
ever encoded again to check it. Members that nobody here judges by are passed over; all others are required.
"""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from cloister.errors import MalformedInput, TooLarge

MAXIMUM_DOCUMENT: Final = 256 * 1024  # bytes; real ones have up to 10 KiB

Svn = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]
WideSvn = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Moment = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")]
Advisories = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=256)]
Levels = msgspec.Meta(min_length=1, max_length=256)
Hex2 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{4}\Z")]
Hex4 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{8}\Z")]
Hex6 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{12}\Z")]
Hex8 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{16}\Z")]
Hex16 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{32}\Z")]
Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}\Z")]
Hex48 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{96}\Z")]


class TcbStatus(StrEnum):
    """What Intel says of a TCB level. A status that is not here is malformed: nobody knows what it would allow."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


class _Member(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An object in one of these documents."""


class TcbComponent(_Member, frozen=True, kw_only=True):
    """One security version of sixteen."""

    svn: Svn


Components = Annotated[tuple[TcbComponent, ...], msgspec.Meta(min_length=16, max_length=16)]


class Tcb(_Member, frozen=True, kw_only=True):
    """The versions that a level asks for at least (version 3)."""

    sgxtcbcomponents: Components
    tdxtcbcomponents: Components | None = None  # of TDX
    pcesvn: WideSvn


class TcbLevel(_Member, frozen=True, kw_only=True):
    """A TCB level of platforms."""

    tcb: Tcb
    tcb_date: Moment
    tcb_status: TcbStatus
    advisory_ids: Advisories = msgspec.field(name="advisoryIDs", default=())

    @property
    def sgx(self) -> tuple[int, ...]:
        """The 16 SGX components."""
        return tuple(one.svn for one in self.tcb.sgxtcbcomponents)

    @property
    def tdx(self) -> tuple[int, ...]:
        """The 16 TDX components; none in a level of SGX."""
        return tuple(one.svn for one in self.tcb.tdxtcbcomponents or ())


class EnclaveTcb(_Member, frozen=True, kw_only=True):
    """The version that a level asks for at least."""

    isvsvn: WideSvn


class EnclaveLevel(_Member, frozen=True, kw_only=True):
    """A TCB level of a quoting enclave or a TDX module."""

    tcb: EnclaveTcb
    tcb_date: Moment
    tcb_status: TcbStatus
    advisory_ids: Advisories = msgspec.field(name="advisoryIDs", default=())


class TdxModule(_Member, frozen=True, kw_only=True):
    """Who signs TDX modules, and with which attributes."""

    mrsigner: Hex48
    attributes: Hex8
    attributes_mask: Hex8


class TdxModuleIdentity(TdxModule, frozen=True, kw_only=True):
    """The same for one major version of the module, with its levels; `id` is `TDX_` and the version in hex."""

    id: Annotated[str, msgspec.Meta(pattern=r"^(?i:tdx_[0-9a-f]{2})\Z")]
    tcb_levels: Annotated[tuple[EnclaveLevel, ...], Levels]


class _Dated(_Member, frozen=True, kw_only=True):
    issue_date: Moment
    next_update: Moment
    tcb_evaluation_data_number: Number


class TcbInfo(_Dated, frozen=True, kw_only=True):
    """TCB info of one FMSPC (version 3; version 2 of SGX is read into the same). Nothing in it is trusted yet."""

    id: Literal["SGX", "TDX"]
    version: Literal[3]
    fmspc: Hex6
    pce_id: Hex2
    tcb_type: Literal[0]
    tdx_module: TdxModule | None = None  # of TDX
    tdx_module_identities: Annotated[tuple[TdxModuleIdentity, ...], msgspec.Meta(max_length=64)] = ()
    tcb_levels: Annotated[tuple[TcbLevel, ...], Levels]


class QeIdentity(_Dated, frozen=True, kw_only=True):
    """Which quoting enclave is Intel's (enclave identity, version 2). Nothing in it is trusted yet."""

    id: Literal["QE", "TD_QE", "QVE"]
    version: Literal[2]
    miscselect: Hex4
    miscselect_mask: Hex4
    attributes: Hex16
    attributes_mask: Hex16
    mrsigner: Hex32
    isvprodid: WideSvn
    tcb_levels: Annotated[tuple[EnclaveLevel, ...], Levels]


class _OldLevel(_Member, frozen=True, kw_only=True):
    tcb: dict[str, WideSvn]
    tcb_date: Moment
    tcb_status: TcbStatus
    advisory_ids: Advisories = msgspec.field(name="advisoryIDs", default=())

    def level(self) -> TcbLevel:
        """The same as version 3 has it."""
        components = tuple(TcbComponent(svn=self.tcb[f"sgxtcbcomp{one:02}svn"]) for one in range(1, 17))
        tcb = Tcb(sgxtcbcomponents=components, pcesvn=self.tcb["pcesvn"])
        return TcbLevel(tcb=tcb, tcb_date=self.tcb_date, tcb_status=self.tcb_status, advisory_ids=self.advisory_ids)


class _OldTcbInfo(_Dated, frozen=True, kw_only=True):
    version: Literal[2]
    fmspc: Hex6
    pce_id: Hex2
    tcb_type: Literal[0]
    tcb_levels: Annotated[tuple[_OldLevel, ...], Levels]

    def info(self) -> TcbInfo:
        """The same as version 3 has it; version 2 is of SGX only."""
        return TcbInfo(
            id="SGX",
            version=3,
            issue_date=self.issue_date,
            next_update=self.next_update,
            tcb_evaluation_data_number=self.tcb_evaluation_data_number,
            fmspc=self.fmspc,
            pce_id=self.pce_id,
            tcb_type=0,
            tcb_levels=tuple(one.level() for one in self.tcb_levels),
        )


def parse_tcb_info(body: bytes) -> TcbInfo:
    """The bytes of `tcbInfo`, as they were signed.

    Raises:
        TooLarge: over 256 KiB.
        MalformedInput: not TCB info of version 3, or of version 2 for SGX.
    """
    _cap(body)
    try:
        if msgspec.json.decode(body, type=_Versioned).version == 2:
            info = msgspec.json.decode(body, type=_OldTcbInfo).info()
        else:
            info = msgspec.json.decode(body, type=TcbInfo)
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not TCB info: {error}") from error
    whole = all((level.tcb.tdxtcbcomponents is not None) == (info.id == "TDX") for level in info.tcb_levels)
    if not whole or (info.tdx_module is not None) != (info.id == "TDX"):
        raise MalformedInput(f"TCB info of {info.id}, but not all of its members are")
    _check_moments(info, *info.tcb_levels, *(one for each in info.tdx_module_identities for one in each.tcb_levels))
    return info


def parse_qe_identity(body: bytes) -> QeIdentity:
    """The bytes of `enclaveIdentity`, as they were signed.

    Raises:
        TooLarge: over 256 KiB.
        MalformedInput: not an enclave identity of version 2.
    """
    _cap(body)
    try:
        identity = msgspec.json.decode(body, type=QeIdentity)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not a QE identity: {error}") from error
    _check_moments(identity, *identity.tcb_levels)
    return identity


def seconds(moment: str) -> int:
    """A moment of such a document in seconds since 1970.

    Raises:
        MalformedInput: no such day or hour.
    """
    try:
        return timegm(datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).utctimetuple())
    except ValueError as error:
        raise MalformedInput(f"not a moment: {moment}") from error


class _Versioned(_Member, frozen=True, kw_only=True):
    version: int


def _check_moments(document: _Dated, *levels: TcbLevel | EnclaveLevel) -> None:
    for moment in (document.issue_date, document.next_update, *(one.tcb_date for one in levels)):
        seconds(moment)


def _cap(body: bytes) -> None:
    if len(body) > MAXIMUM_DOCUMENT:
        raise TooLarge(f"a document of {len(body)} bytes, the cap is {MAXIMUM_DOCUMENT}")
