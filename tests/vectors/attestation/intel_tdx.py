"""Recorded quotes of Intel TDX and SGX machines, with the collateral of their day."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, TypeVar

from tests.vectors.attestation import Case, WrongFact, require_facts

from cloister.attest.replay import LogRefused, authenticate_rtmrs
from cloister.attest.roots import INTEL_SGX_ROOT
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.tdx.appraised import appraise_sgx, appraise_tdx
from cloister.attest.tdx.authentic import AuthenticSgx, AuthenticTdx, IntelPlatform, examine_sgx, examine_tdx
from cloister.attest.tdx.tcb import NoTcbLevel, find_standing
from cloister.errors import MalformedInput
from cloister.examination import Examination
from cloister.formats.event_log import parse_ccel_log
from cloister.formats.intel_collateral import IntelCollateral, parse_collateral
from cloister.formats.intel_quote import declared_length, parse_quote
from cloister.formats.runtime_log import parse_runtime_log
from cloister.formats.sgx_report import EnclaveReport
from cloister.formats.tcb_info import TcbStatus
from cloister.formats.td_report import TdReport
from cloister.formats.tdx_policy import IntelTcbPolicy, SgxPolicy, TdxPolicy
from cloister.testing.tdx_hardware import image_of

YEARS: Final = 365 * 24 * 3600
ROOTS: Final = frozenset({INTEL_SGX_ROOT})
T = TypeVar("T")


def judge_tdx(case: Case) -> list[str]:
    """The steps that failed."""
    return judge_tdx_quote(quote_of(case), collateral_of(case), case)


def judge_sgx(case: Case) -> list[str]:
    """The steps that failed."""
    return judge_sgx_quote(quote_of(case), collateral_of(case), case)


def quote_of(case: Case) -> bytes:
    """The quote, cut at the length that it declares, as a collector cuts it: real buffers are longer."""
    data = case.read(case.data["files"]["quote"])
    return data[: declared_length(data)]


def collateral_of(case: Case) -> IntelCollateral:
    """The collateral. A PCK chain beside it is not looked at: the quote has its own."""
    found = json.loads(case.read(case.data["collateral"]))
    found.pop("pck_certificate_chain", None)
    return parse_collateral(json.dumps(found).encode())


def judge_tdx_quote(data: bytes, collateral: IntelCollateral, case: Case) -> list[str]:
    """The steps that failed for one quote at the case's moment."""
    examination = examine_tdx(data, collateral, roots=ROOTS, at=case.at, seen=SEEN_NOTHING)
    return _judged(examination, data, case, _appraised_tdx)


def judge_sgx_quote(data: bytes, collateral: IntelCollateral, case: Case) -> list[str]:
    """The same for an enclave's."""
    examination = examine_sgx(data, collateral, roots=ROOTS, at=case.at, seen=SEEN_NOTHING)
    return _judged(examination, data, case, _appraised_sgx)


def _judged(
    examination: Examination[T], data: bytes, case: Case, appraised: Callable[[T, Case], list[str]]
) -> list[str]:
    if examination.failed:
        return examination.failed
    quote = parse_quote(data)
    found = {"quote_version": quote.header.version, "report_data": quote.body.report_data.hex()}
    require_facts(case, found | body_facts(quote.body))
    return appraised(examination.require(), case)


def body_facts(body: TdReport | EnclaveReport) -> dict[str, object]:
    """What cases.json knows of a quote's body, as it writes it."""
    if isinstance(body, EnclaveReport):
        return {
            "mr_enclave": body.mr_enclave.hex(),
            "mr_signer": body.mr_signer.hex(),
            "attributes": body.attributes.hex(),
            "isv_prod_id": body.isv_prod_id,
            "isv_svn": body.isv_svn,
        }
    told: dict[str, object] = {
        name: getattr(body, name).hex() for name in ("mr_td", "mr_seam", "tee_tcb_svn", "mr_config_id", "mr_owner")
    }
    return told | {
        "mr_owner_config": body.mr_owner_config.hex(),
        "td_attributes": body.td_attributes.to_bytes(8, "little").hex(),
        "xfam": body.xfam.to_bytes(8, "little").hex(),
        "rtmr": [one.hex() for one in body.rtmrs],
        "mr_service_td": None if body.mr_service_td is None else body.mr_service_td.hex(),
    }


def _appraised_tdx(authentic: AuthenticTdx, case: Case) -> list[str]:
    """Under the strict appraisal; what the case does not tell of the image is what its quote says."""
    report = authentic.report
    _require_status(case, authentic.platform, report)
    _require_log(case, report)
    expected = bytes.fromhex(case.data.get("facts", {}).get("report_data", report.report_data.hex()))
    return appraise_tdx(authentic, strict(report, case), report_data=expected, at=case.at, workloads=()).failed


def strict(report: TdReport, case: Case) -> TdxPolicy:
    """The strict appraisal, of the image that the quote itself tells of."""
    return TdxPolicy(
        tcb=_strict(case),
        images=(image_of(report),),
        unsafe=(),
        protection_keys="allowed",
        key_locker="allowed",
        performance_monitoring="allowed",
        other_attributes=b"\xff" * 8,
        xfam_required=(3).to_bytes(8, "little"),
        xfam_allowed=b"\xff" * 8,  # the cases do not speak of it
        service_tds=(),
        unreported_service_td="accept",
        expressions=(),
    )


def _appraised_sgx(authentic: AuthenticSgx, case: Case) -> list[str]:
    report = authentic.report
    _require_status(case, authentic.platform, report)
    policy = SgxPolicy(tcb=_strict(case), enclaves=(report.mr_enclave,), unsafe=())
    expected = bytes.fromhex(case.data.get("facts", {}).get("report_data", report.report_data.hex()))
    return appraise_sgx(authentic, policy, report_data=expected, at=case.at).failed


def _strict(case: Case) -> IntelTcbPolicy:
    """`UpToDate` alone; advisories that the case tells of are held against what was found, not held against it."""
    return IntelTcbPolicy(
        statuses=(TcbStatus.UP_TO_DATE,),
        maximum_tcb_age_seconds=10 * YEARS,
        advisories=tuple(case.data["expect"].get("advisory_ids", ())),
        minimum_evaluation_data_number=0,
        ppids="any",
        fmspcs="any",
    )


def _require_status(case: Case, platform: IntelPlatform, body: TdReport | EnclaveReport) -> None:
    expect = case.data["expect"]
    if expect.get("tcb_status") is None:
        return
    try:
        said = platform.collateral
        found = find_standing(said.tcb_info, said.qe_identity, platform.pck, platform.quoting_enclave, body)
        status, advisories = str(found.status), list(found.advisories)
    except NoTcbLevel:
        status, advisories = "none", []
    if (status, advisories) != (expect["tcb_status"], sorted(expect["advisory_ids"])):
        raise WrongFact(f"TCB status {status} {advisories}, not {expect['tcb_status']} {expect['advisory_ids']}")


def _require_log(case: Case, report: TdReport) -> None:
    """Where the case has an event log, it leads to all four registers."""
    try:
        if (ccel := case.data.get("ccel")) is not None:
            authenticate_rtmrs(parse_ccel_log(case.read(ccel["table"]), case.read(ccel["data"])), report.rtmrs)
        if (record := case.data.get("event_log_json")) is not None:
            authenticate_rtmrs(parse_runtime_log(_event_log(case.read(record))), report.rtmrs)
    except LogRefused as error:
        raise WrongFact(str(error)) from error


def _event_log(record: bytes) -> bytes:
    """The log in a record of its guest's agent, which may hold it as text."""
    log = json.loads(record)["event_log"]
    return log.encode() if isinstance(log, str) else json.dumps(log).encode()


def meaning(path: str, data: bytes) -> object:
    """What of a file is judged: a quote as a collector cuts it, collateral; nothing of logs, which tell more than is
    measured."""
    if path.endswith("quote.bin"):
        try:
            return data[: declared_length(data)]
        except MalformedInput:
            return data
    if "collateral" in path:
        return {key: value for key, value in json.loads(data).items() if key != "pck_certificate_chain"}
    return None


MEANING: Final = meaning
KINDS: Final = {"tdx": judge_tdx, "sgx": judge_sgx}
REASONS: Final = (
    (
        r"(?i)TCB Info.*past nextUpdate|before issueDate|TCB Info.*(expired|not yet valid|out of its dates)",
        "tdx.tcb-info-date",
    ),
    (r"(?i)QE Identity.*past nextUpdate", "tdx.identity-date"),
    (r"(?i)CRL.*past nextUpdate|PCK.*revoked", "tdx.revocation"),
    (r"(?i)another FMSPC|FMSPC (does not match|mismatch)", "tdx.fmspc"),
    (r"(?i)no TCB level", "tdx.tcb-level"),
    (r"TCB (status )?(OutOfDate|ConfigurationNeeded|SWHardening|ConfigurationAndSW|Revoked)", "tdx.tcb-status"),
    (r"TD attribute DEBUG", "tdx.debug"),
    (r"enclave attribute DEBUG", "sgx.debug"),
    (r"SEPT_VE_DISABLE clear", "tdx.sept-ve"),
    (r"(?i)attribute MIGRATABLE", "tdx.migratable"),
    (r"MR_?SERVICETD not zero", "tdx.service-td"),
    (r"(?i)QE (report )?.*(MRSIGNER|identity).*(mismatch|another|not match)", "tdx.qe-identity"),
    (r"(?i)TDX module.*(mismatch|another|not match)", "tdx.module"),
    (r"(?i)quote signature.*(invalid|wrong|does not)", "tdx.signature"),
)
