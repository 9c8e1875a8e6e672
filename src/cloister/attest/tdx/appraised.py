"""An authentic quote is held against the appraisal policy; every shortfall says what is wanting and what to do.

Source: Intel TDX Module ABI Reference, "ATTRIBUTES (TD Attributes)" and "XFAM"; Intel SGX ECDSA Quote Library
Reference, section 4.1.2.4.17 (what the statuses of a TCB mean).
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloister.attest.certificates import day
from cloister.attest.claims import td_claims
from cloister.attest.tdx.authentic import AuthenticSgx, AuthenticTdx, IntelPlatform
from cloister.attest.tdx.quote import TdxRejected
from cloister.attest.tdx.tcb import NoTcbLevel, TcbStanding, find_standing
from cloister.examination import Examination, Steps
from cloister.formats.policy_expression import unheld
from cloister.formats.sgx_report import EnclaveReport
from cloister.formats.tcb_info import TcbStatus
from cloister.formats.td_report import UNDER_DEBUG, TdAttributes, TdReport
from cloister.formats.tdx_policy import IntelTcbPolicy, SgxPolicy, Stance, TdImage, TdxPolicy
from cloister.formats.workload_event import register_value

TCB_STEPS = (
    "tdx.tcb-level",
    "tdx.tcb-status",
    "tdx.tcb-age",
    "tdx.advisories",
    "tdx.evaluation",
    "tdx.ppid",
    "tdx.fmspc-list",
)
TDX_APPRAISAL_STEPS = (
    *TCB_STEPS,
    "tdx.debug",
    "tdx.sept-ve",
    "tdx.migratable",
    "tdx.attributes",
    "tdx.xfam",
    "tdx.service-td",
    "tdx.image",
    "tdx.report-data",
    "tdx.expressions",
)
SGX_APPRAISAL_STEPS = (*TCB_STEPS, "sgx.debug", "sgx.enclave", "sgx.report-data")
_TO_DO: Final = {
    TcbStatus.UP_TO_DATE: "accept it in the policy",
    TcbStatus.SW_HARDENING_NEEDED: "harden the software as the advisories say, and accept it in the policy",
    TcbStatus.CONFIGURATION_NEEDED: "change the BIOS's settings as the advisories say",
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: "change the BIOS's settings and harden the software",
    TcbStatus.OUT_OF_DATE: "update BIOS, microcode, TDX module and quoting enclave, and start the TD again",
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: "update BIOS, microcode and TDX module, and change the BIOS's settings",
    TcbStatus.REVOKED: "use another platform: nothing mends this one",
}
_CONSIDERED: Final = (
    UNDER_DEBUG
    | TdAttributes.SEPT_VE_DISABLE
    | TdAttributes.MIGRATABLE
    | TdAttributes.PKS
    | TdAttributes.KL
    | TdAttributes.PERFMON
)


@dataclass(frozen=True, slots=True)
class AppraisedTdx:
    """A trust domain that meets its appraisal policy. Built only here."""

    report: TdReport
    ppid: bytes  # 16 bytes
    tcb: TcbStanding
    image: TdImage


@dataclass(frozen=True, slots=True)
class AppraisedSgx:
    """An enclave that meets its appraisal policy. Built only here."""

    report: EnclaveReport
    ppid: bytes  # 16 bytes
    tcb: TcbStanding


def appraise_tdx(
    authentic: AuthenticTdx, policy: TdxPolicy, *, report_data: bytes, at: int, workloads: Collection[bytes]
) -> Examination[AppraisedTdx]:
    """Hold an authentic TDX quote against the policy at `at` (seconds since 1970).

    Args:
        authentic: of `examine_tdx`.
        policy: what it must meet.
        report_data: the 64 bytes that the quote must carry, all of them.
        at: now, in seconds since 1970.
        workloads: measurements, 48 bytes each, one of which RTMR3 holds where an image says `workload`.
    """
    steps = Steps(TDX_APPRAISAL_STEPS, TdxRejected)
    report = authentic.report
    # 1. to 7. The platform.
    standing = _check_tcb(steps, authentic.platform, report, policy.tcb, at)
    # 8. to 13. How the trust domain may be looked into, moved and used.
    _check_attributes(steps, report.td_attributes, policy)
    _check_xfam(steps, report.xfam, policy)
    _check_service_td(steps, report, policy)
    # 14. What was measured of it, all parts as of one image.
    loaded = [register_value(workload, "sha384") for workload in workloads]
    image = next((one for one in policy.images if not _differing(report, one, loaded)), None)
    shortfall = _other_image(report, policy.images, loaded)
    steps.check("tdx.image", image is not None, shortfall, found="MRTD and RTMRs of one image")
    # 15. What it says, whole: 64 bytes that begin alike are others.
    _check_report_data(steps, "tdx.report-data", report.report_data, report_data)
    # 16. Whatever else the policy says of it, in expressions.
    wrong = unheld(policy.expressions, claims_of_td(authentic, standing)) if policy.expressions else []
    steps.check("tdx.expressions", not wrong, "; ".join(wrong), found=f"{len(policy.expressions)} hold")
    if standing is None or image is None:
        return steps.stopped()
    return steps.examined(lambda: AppraisedTdx(report, authentic.platform.pck.ppid, standing, image))


def claims_of_td(authentic: AuthenticTdx, standing: TcbStanding | None) -> dict[str, Any]:
    """What its quote says, and Intel of its platform, by the names that expressions use."""
    pck = authentic.platform.pck
    platform: dict[str, Any] = {"ppid": pck.ppid.hex(), "fmspc": pck.fmspc.hex(), "pce_svn": pck.pce_svn}
    if standing is not None:
        told = {"tcb_status": str(standing.status), "tcb_date": standing.since, "advisories": list(standing.advisories)}
        platform |= told
    return td_claims(authentic.report, platform)


def appraise_sgx(
    authentic: AuthenticSgx, policy: SgxPolicy, *, report_data: bytes, at: int
) -> Examination[AppraisedSgx]:
    """Hold an authentic SGX quote against the policy, as `appraise_tdx` does a TDX quote."""
    steps = Steps(SGX_APPRAISAL_STEPS, TdxRejected)
    report = authentic.report
    # 1. to 7. The platform.
    standing = _check_tcb(steps, authentic.platform, report, policy.tcb, at)
    # 8. Nobody looks into the enclave.
    allowed = not report.debug or "UnsafeAllowEnclaveDebug" in policy.unsafe
    steps.check("sgx.debug", allowed, "the enclave has the attribute DEBUG: its owner reads it", found="no DEBUG")
    # 9. It is one that the policy names.
    found = f"MRENCLAVE {report.mr_enclave.hex()[:16]}…"
    steps.check("sgx.enclave", report.mr_enclave in policy.enclaves, f"{found} is not in the policy", found=found)
    # 10. What it says, whole.
    _check_report_data(steps, "sgx.report-data", report.report_data, report_data)
    if standing is None:
        return steps.stopped()
    return steps.examined(lambda: AppraisedSgx(report, authentic.platform.pck.ppid, standing))


def _check_tcb(
    steps: Steps, platform: IntelPlatform, body: TdReport | EnclaveReport, policy: IntelTcbPolicy, at: int
) -> TcbStanding | None:
    # 1. Intel has a level for platform, TDX module and quoting enclave (4.1.2.4.17.1 to .4).
    pck, info, identity = platform.pck, platform.collateral.tcb_info, platform.collateral.qe_identity
    standing = steps.attempt(
        "tdx.tcb-level", lambda: find_standing(info, identity, pck, platform.quoting_enclave, body), NoTcbLevel
    )
    if standing is not None:
        _check_standing(steps, standing, policy, at)
    # 5. By documents that know of the TCB recoveries up to now.
    number = min(info.tcb_evaluation_data_number, identity.tcb_evaluation_data_number)
    least = policy.minimum_evaluation_data_number
    shortfall = f"TCB evaluation data number {number} is below {least}: fetch newer collateral"
    steps.check("tdx.evaluation", number >= least, shortfall, found=str(number))
    # 6. and 7. A platform, and a kind of platform, that the policy takes.
    known = policy.ppids == "any" or pck.ppid in policy.ppids
    steps.check("tdx.ppid", known, f"PPID {pck.ppid.hex()} is not in the policy", found=pck.ppid.hex())
    known = policy.fmspcs == "any" or pck.fmspc in policy.fmspcs
    steps.check("tdx.fmspc-list", known, f"FMSPC {pck.fmspc.hex()} is not in the policy", found=pck.fmspc.hex())
    return standing


def _check_standing(steps: Steps, standing: TcbStanding, policy: IntelTcbPolicy, at: int) -> None:
    # 2. The worst of the three is a status that the policy takes.
    status, accepted = standing.status, ", ".join(policy.statuses) or "none"
    shortfall = f"TCB status {status} is not among {accepted}: {_TO_DO[status]}"
    steps.check("tdx.tcb-status", status in policy.statuses, shortfall, found=status)
    # 3. Of levels that are not too old: a status that was given years ago was given before much was known.
    oldest, since = at - policy.maximum_tcb_age_seconds, day(standing.since)
    shortfall = f"the TCB level is of {since}, and may be of {day(max(oldest, 0))} at the earliest: update the platform"
    steps.check("tdx.tcb-age", standing.since >= oldest, shortfall, found=f"of {since}")
    # 4. What Intel says against these levels was accepted one by one.
    unread = [one for one in standing.advisories if one not in policy.advisories]
    shortfall = f"{', '.join(unread)} not accepted: update the platform, or accept them in the policy"
    steps.check("tdx.advisories", not unread, shortfall, found=", ".join(standing.advisories) or "none")


def _check_attributes(steps: Steps, found: TdAttributes, policy: TdxPolicy) -> None:
    # 8. The host reads memory and registers of a TD in debug mode; what profiles a TD is of the same group, TUD.
    under_debug = int(found) & UNDER_DEBUG
    word = "DEBUG" if found & TdAttributes.DEBUG else f"bits {under_debug:#x} of the group TUD"
    allowed = not under_debug or "UnsafeAllowTdDebug" in policy.unsafe
    steps.check("tdx.debug", allowed, f"the TD has the attribute {word}: the host reads it", found="no DEBUG")
    # 9. Without this the host can raise #VE at any page of a TD, and so make it run where it chooses.
    disabled = bool(found & TdAttributes.SEPT_VE_DISABLE) or "UnsafeAllowSeptVe" in policy.unsafe
    shortfall = "the TD lacks the attribute SEPT_VE_DISABLE: start it with a VMM that sets it"
    steps.check("tdx.sept-ve", disabled, shortfall, found="SEPT_VE_DISABLE")
    # 10. A TD that can be moved is as safe as every platform that a migration TD ever takes it to.
    fixed = not found & TdAttributes.MIGRATABLE or "UnsafeAllowMigratableTd" in policy.unsafe
    steps.check("tdx.migratable", fixed, "the TD has the attribute MIGRATABLE", found="not migratable")
    # 11. The rest as the policy says, and nothing that has no name there.
    wrong = [
        f"{name} is {stance}"
        for name, bit, stance in (
            ("PKS", TdAttributes.PKS, policy.protection_keys),
            ("KL", TdAttributes.KL, policy.key_locker),
            ("PERFMON", TdAttributes.PERFMON, policy.performance_monitoring),
        )
        if not _stands(bool(found & bit), stance)
    ]
    if others := int(found) & ~int(_CONSIDERED) & ~int.from_bytes(policy.other_attributes, "little"):
        wrong.append(f"bits {others:#x} are refused")
    shortfall = f"TD attributes {int(found):#018x}: {', '.join(wrong)}"
    steps.check("tdx.attributes", not wrong, shortfall, found=f"{int(found):#018x}")


def _stands(there: bool, stance: Stance) -> bool:
    return stance == "allowed" or there == (stance == "required")


def _check_xfam(steps: Steps, xfam: int, policy: TdxPolicy) -> None:
    # 12. Features of the processor whose state the TD may use.
    required, allowed = (int.from_bytes(one, "little") for one in (policy.xfam_required, policy.xfam_allowed))
    missing, besides = required & ~xfam, xfam & ~allowed
    shortfall = f"XFAM {xfam:#x} lacks {missing:#x} and has {besides:#x} besides what is allowed"
    steps.check("tdx.xfam", not missing and not besides, shortfall, found=f"{xfam:#x}")


def _check_service_td(steps: Steps, report: TdReport, policy: TdxPolicy) -> None:
    # 13. A service TD that is bound, such as a migration TD, has the TD's memory in its hands.
    bound = report.mr_service_td
    if bound is None:
        silent = policy.unreported_service_td == "accept" and not report.td_attributes & TdAttributes.MIGRATABLE
        shortfall = "a TD report 1.0 does not say which service TD is bound: have quotes of version 5 made"
        steps.check("tdx.service-td", silent, shortfall, found="not reported, not migratable")
        return
    allowed = not any(bound) or bound in policy.service_tds
    shortfall = f"a service TD is bound that is not in the policy: MRSERVICETD {bound.hex()[:16]}…"
    steps.check("tdx.service-td", allowed, shortfall, found=f"{bound.hex()[:16]}…" if any(bound) else "none bound")


_PARTS: Final = ("MRTD", "RTMR0", "RTMR1", "RTMR2", "RTMR3", "MRCONFIGID", "MROWNER", "MROWNERCONFIG")


def _measured(report: TdReport) -> tuple[bytes, ...]:
    """All that is measured of a trust domain, in the order of `_PARTS`."""
    return (report.mr_td, *report.rtmrs, report.mr_config_id, report.mr_owner, report.mr_owner_config)


def _differing(report: TdReport, image: TdImage, loaded: Collection[bytes]) -> list[str]:
    """What is otherwise than the image has it; `loaded` are the values of RTMR3 that `workload` stands for."""
    last = loaded if image.rtmr3 == "workload" else image.rtmr3
    before, owners = (image.mr_td, *image.rtmrs), (image.mr_config_id, image.mr_owner, image.mr_owner_config)
    wanted = (*((one,) for one in before), last, *((one,) for one in owners))
    return [
        f"{name} {found.hex()[:16]}…"
        for name, found, taken in zip(_PARTS, _measured(report), wanted, strict=True)
        if found not in taken
    ]


def _other_image(report: TdReport, images: Sequence[TdImage], loaded: Collection[bytes]) -> str:
    """What the nearest image of the policy has otherwise."""
    nearest = min((_differing(report, image, loaded) for image in images), key=len, default=None)
    return "the policy names no image" if nearest is None else f"of no image in the policy: {', '.join(nearest)}"


def _check_report_data(steps: Steps, step: str, found: bytes, expected: bytes) -> None:
    whole = len(expected) == len(found) and hmac.compare_digest(found, expected)
    steps.check(step, whole, "the report data is not what was expected, all 64 bytes of it", found="64 bytes")
