"""Where Intel places a platform, its TDX module and its quoting enclave, and how bad the worst of them is.

Source: Intel SGX and TDX Provisioning Certification Service API v4, "Get TDX TCB Info" (how a TCB level is found) and
"Get Quoting Enclave Identity"; Intel SGX ECDSA Quote Library Reference, section 4.1.2.4.17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from cloister.errors import CloisterError
from cloister.formats.pck_certificate import PckExtensions
from cloister.formats.sgx_report import EnclaveReport
from cloister.formats.tcb_info import (
    EnclaveLevel,
    QeIdentity,
    TcbInfo,
    TcbLevel,
    TcbStatus,
    TdxModule,
    TdxModuleIdentity,
    seconds,
)
from cloister.formats.td_report import TdReport

_SOFTWARE, _CONFIGURATION, _OLD, _REVOKED = 1, 2, 4, 8  # what a status says is wanting
_WANTING: Final = {
    TcbStatus.UP_TO_DATE: 0,
    TcbStatus.SW_HARDENING_NEEDED: _SOFTWARE,
    TcbStatus.CONFIGURATION_NEEDED: _CONFIGURATION,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: _CONFIGURATION | _SOFTWARE,
    TcbStatus.OUT_OF_DATE: _OLD,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: _OLD | _CONFIGURATION,
    TcbStatus.REVOKED: _REVOKED,
}
_STATUS: Final = {wanting: status for status, wanting in _WANTING.items()}


class NoTcbLevel(CloisterError):
    """Intel's documents have no level that this platform, module or quoting enclave reaches."""

    exit_code = 3
    status = 403


@dataclass(frozen=True, slots=True)
class TcbStanding:
    """Platform, TDX module and quoting enclave taken together."""

    status: TcbStatus
    since: int  # the oldest of their tcbDates, in seconds since 1970
    advisories: tuple[str, ...]  # of all of them, sorted


def find_standing(
    tcb_info: TcbInfo, qe_identity: QeIdentity, pck: PckExtensions, qe: EnclaveReport, body: TdReport | EnclaveReport
) -> TcbStanding:
    """The first level that each reaches, and the worst of the three.

    Raises:
        NoTcbLevel: one of them reaches none.
    """
    levels: list[TcbLevel | EnclaveLevel] = [
        platform_level(tcb_info, pck, body),
        enclave_level(qe_identity.tcb_levels, qe.isv_svn, "the quoting enclave"),
    ]
    if isinstance(body, TdReport) and (module := module_identity(tcb_info, body)) is not None:
        levels.append(enclave_level(module.tcb_levels, body.tee_tcb_svn[0], f"the TDX module {module.id}"))
    return TcbStanding(
        converge([one.tcb_status for one in levels]),
        min(seconds(one.tcb_date) for one in levels),
        tuple(sorted({advisory for one in levels for advisory in one.advisory_ids})),
    )


def platform_level(tcb_info: TcbInfo, pck: PckExtensions, body: TdReport | EnclaveReport) -> TcbLevel:
    """The first level, from the highest down, none of whose versions is above the platform's.

    Raises:
        NoTcbLevel: the platform is below all of them.
    """
    ordered = sorted(tcb_info.tcb_levels, key=lambda one: (one.sgx, one.tcb.pcesvn, one.tdx), reverse=True)
    for level in ordered:
        # 1. All 16 SGX TCB components of the PCK certificate, 2. and its PCESVN.
        sgx = _reaches(pck.components, level.sgx) and pck.pce_svn >= level.tcb.pcesvn
        # 3. TEE_TCB_SVN of the quote's body, for TDX.
        if sgx and (not isinstance(body, TdReport) or _reaches_tdx(body.tee_tcb_svn, level.tdx)):
            return level
    lowest = ordered[-1]
    raise NoTcbLevel(
        f"no TCB level is reached: the platform has {_listed(pck.components)}, PCESVN {pck.pce_svn}"
        f"{f', TEE TCB {_listed(body.tee_tcb_svn)}' if isinstance(body, TdReport) else ''}; the lowest level is "
        f"{_listed(lowest.sgx)}, PCESVN {lowest.tcb.pcesvn}{f', {_listed(lowest.tdx)}' if lowest.tdx else ''}: "
        "update BIOS, microcode and TDX module"
    )


def enclave_level(levels: Sequence[EnclaveLevel], isv_svn: int, what: str) -> EnclaveLevel:
    """The first level, from the highest down, whose ISVSVN is not above this one.

    Raises:
        NoTcbLevel: it is below all of them.
    """
    ordered = sorted(levels, key=lambda one: one.tcb.isvsvn, reverse=True)
    for level in ordered:
        if isv_svn >= level.tcb.isvsvn:
            return level
    raise NoTcbLevel(f"{what} has ISVSVN {isv_svn}, below the lowest level's {ordered[-1].tcb.isvsvn}: update it")


def module_identity(tcb_info: TcbInfo, report: TdReport) -> TdxModuleIdentity | None:
    """The identity of the module's major version, TEE_TCB_SVN[1]; none where that is 0, which has no identity.

    Raises:
        NoTcbLevel: TCB info does not know that version.
    """
    version = report.tee_tcb_svn[1]
    if version == 0:
        return None
    for identity in tcb_info.tdx_module_identities:
        if identity.id.upper() == f"TDX_{version:02X}":
            return identity
    raise NoTcbLevel(f"TCB info knows no TDX module of version {version}: fetch newer TCB info")


def check_module(tcb_info: TcbInfo, report: TdReport) -> None:
    """Whether the TDX module is one that Intel signed (4.1.2.4.11).

    Raises:
        NoTcbLevel: another signer, other attributes, or an unknown version.
    """
    expected: TdxModule | None = module_identity(tcb_info, report) or tcb_info.tdx_module
    if expected is None:
        raise NoTcbLevel("TCB info names no TDX module")
    if report.mr_signer_seam.hex() != expected.mrsigner.lower():
        raise NoTcbLevel(f"the TDX module is signed by {report.mr_signer_seam.hex()[:16]}…, not as Intel's are")
    mask = int.from_bytes(bytes.fromhex(expected.attributes_mask), "little")
    wanted = int.from_bytes(bytes.fromhex(expected.attributes), "little")
    # Production modules have none, whatever the mask leaves open (QVL demands zero too).
    if report.seam_attributes & mask != wanted or report.seam_attributes:
        raise NoTcbLevel(f"the TDX module has SEAMATTRIBUTES {report.seam_attributes:#x}: it is no production module")


def converge(statuses: Sequence[TcbStatus]) -> TcbStatus:
    """All that one of them says is wanting is wanting; what is revoked or out of date needs no hardening besides."""
    wanting = reduce(or_, (_WANTING[one] for one in statuses), 0)
    if wanting & _REVOKED:
        return TcbStatus.REVOKED
    return _STATUS[wanting & ~_SOFTWARE if wanting & _OLD else wanting]


def _reaches_tdx(tee_tcb_svn: bytes, wanted: Sequence[int]) -> bool:
    """From TDX 1.5 on the module's own two versions are judged by its identity: only the rest is the platform's."""
    first = 2 if tee_tcb_svn[1] > 0 else 0
    return _reaches(tee_tcb_svn[first:], wanted[first:])


def _reaches(found: Sequence[int], wanted: Sequence[int]) -> bool:
    return all(one >= other for one, other in zip(found, wanted, strict=True))


def _listed(versions: Sequence[int]) -> str:
    return ".".join(str(one) for one in versions)
