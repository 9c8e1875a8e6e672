"""Recorded evidence of Azure confidential VMs: HCL reports, vTPM quotes, and the hardware's reports below them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from tests.vectors.attestation import Case, WrongFact, require_facts
from tests.vectors.attestation.amd_snp import facts
from tests.vectors.attestation.amd_snp import strict as strict_snp
from tests.vectors.attestation.intel_tdx import body_facts, collateral_of
from tests.vectors.attestation.intel_tdx import strict as strict_tdx

from cloister.attest.azure import RUNTIME_STEPS, examine_runtime
from cloister.attest.azure_vm import appraise_azure_snp, appraise_azure_tdx, examine_azure_snp, examine_azure_tdx
from cloister.attest.certificates import parse_certificates
from cloister.attest.roots import AMD_ARKS, INTEL_SGX_ROOT
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.appraised import appraise_snp
from cloister.attest.snp.authentic import SnpEndorsements, examine_snp
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.appraisal_policy import BOOT_PCRS
from cloister.formats.azure_evidence import AzureEvidence, parse_azure_buffers
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.event_log import SHA256
from cloister.formats.hcl_report import HclReport, declared_length, parse_hcl_report
from cloister.formats.intel_collateral import IntelCollateral
from cloister.formats.intel_quote import parse_quote
from cloister.formats.pck_certificate import EXTENSIONS_OID, parse_pck_extensions
from cloister.formats.snp_policy import UnsafeSnp
from cloister.formats.snp_report import parse_snp_report
from cloister.formats.tpm_policy import TpmPolicy

MEASURED_BOOT: Final = (0, 2, *BOOT_PCRS)
_REPORT_DATA: Final = {"snp": slice(0x50, 0x90), "tdx": slice(128, 192)}  # as the report claims it


def judge_az_snp(case: Case) -> list[str]:
    """The steps that failed for a VM on SEV-SNP."""
    data = case.read(case.data["files"]["evidence"])
    return _as_expected(case, parse_azure_buffers(data), judge_az_snp_evidence(data, case))


def judge_az_snp_evidence(data: bytes, case: Case) -> list[str]:
    """The steps that failed for one piece of evidence at the case's moment."""
    evidence = parse_azure_buffers(data)
    unsafe = _unsafe(case)
    given = _amd_endorsements(evidence.vcek or b"", case)
    examination = examine_azure_snp(evidence, given, roots=AMD_ARKS, at=case.at, unsafe=unsafe, seen=SEEN_NOTHING)
    if examination.failed:
        return examination.failed
    authentic = examination.require()
    hardware = strict_snp(authentic.snp, relax=case.relax, unsafe=unsafe)
    return appraise_azure_snp(authentic, hardware, _policy(evidence), nonce=_nonce(case, evidence)).failed


def judge_az_tdx(case: Case) -> list[str]:
    """The steps that failed for a VM on TDX.

    Where a case has no collateral, it is what the set holds of the platform's kind, on the first day that this is in
    date: what the case is to be rejected for was so on the day before.
    """
    evidence = parse_azure_buffers(case.read(case.data["files"]["evidence"]))
    return _as_expected(case, evidence, _judged_az_tdx(evidence, case))


def _judged_az_tdx(evidence: AzureEvidence, case: Case) -> list[str]:
    collateral, at = _collateral(evidence, case)
    roots = frozenset({INTEL_SGX_ROOT})
    examination = examine_azure_tdx(evidence, collateral, roots=roots, at=at, seen=SEEN_NOTHING)
    if examination.failed:
        return examination.failed
    authentic = examination.require()
    hardware = strict_tdx(authentic.tdx.report, case)
    return appraise_azure_tdx(authentic, hardware, _policy(evidence), nonce=_nonce(case, evidence), at=at).failed


def judge_hcl_snp(case: Case) -> list[str]:
    """The steps that failed for an HCL report alone, with a VCEK beside it."""
    data = _index(case)
    failed = judge_hcl_snp_report(data, case)
    _require_expected(case, parse_hcl_report(data), failed)
    return failed


def judge_hcl_snp_report(data: bytes, case: Case) -> list[str]:
    """The steps that failed for one HCL report at the case's moment."""
    hcl, unsafe = parse_hcl_report(data), _unsafe(case)
    given = _amd_endorsements(case.read(case.data["files"]["vcek"]), case)
    snp = examine_snp(hcl.hardware, given, roots=AMD_ARKS, at=case.at, unsafe=unsafe, seen=SEEN_NOTHING)
    if snp.failed:
        return snp.failed
    authentic = snp.require()
    claimed = authentic.report.report_data
    failed = examine_runtime(hcl, report_data=claimed).failed
    policy = strict_snp(authentic, relax=case.relax, unsafe=unsafe)
    return failed + appraise_snp(authentic, policy, report_data=claimed).failed + _without_quote(case)


def _index(case: Case) -> bytes:
    """The report in a case's NV index, cut as a collector cuts it."""
    data = case.read(case.data["files"]["hcl"])
    return data[: declared_length(data)]


def judge_hcl_tdx(case: Case) -> list[str]:
    """The steps that failed for an HCL report alone, whose TDREPORT nobody can check from afar."""
    hcl = parse_hcl_report(_index(case))
    failed = examine_runtime(hcl, report_data=None).failed
    _require_expected(case, hcl, failed)
    return failed + _without_quote(case)


def _as_expected(case: Case, evidence: AzureEvidence, failed: list[str]) -> list[str]:
    """What failed, if that and what was read are as the case says.

    Raises:
        WrongFact: they are not.
    """
    _require_expected(case, evidence.hcl, failed)
    extra = evidence.quote.extra_data
    told: dict[str, object] = {"tpm_nonce": extra.hex(), "tpm_nonce_len": len(extra)}
    require_facts(case, told | _hardware_facts(evidence))
    if case.data["expect"].get("tpm_nonce_len", len(extra)) != len(extra):
        raise WrongFact(f"qualifying data of {len(extra)} bytes")
    return failed


def _unsafe(case: Case) -> tuple[UnsafeSnp, ...]:
    return ("UnsafeAllowSnpWithoutRevocation",) if "no-crl" in case.relax else ()


def _without_quote(case: Case) -> list[str]:
    return [] if "no-tpm-quote" in case.relax else ["tpm.signature"]


def _amd_endorsements(given: bytes, case: Case) -> SnpEndorsements:
    """The chain given, and, where it is a VCEK alone, AMD's certificates above it."""
    chain = parse_certificates(given)
    above = [case.read(case.data["chain"])] if "chain" in case.data else []
    if len(chain) == 1 and not above:
        for path in sorted((case.root / "roots/amd").glob("as*_ark_*.pem")):
            if parse_certificates(path.read_bytes())[0].subject == chain[0].issuer:
                above = [path.read_bytes()]
    lists = (case.read(case.data["crl"]),) if "crl" in case.data else ()
    return SnpEndorsements((given, *above), lists)


def _collateral(evidence: AzureEvidence, case: Case) -> tuple[IntelCollateral, int]:
    if "collateral" in case.data:
        return collateral_of(case), case.at
    wanted = _fmspc(evidence.td_quote or b"")
    for path in sorted((case.root / "intel-tdx/collateral").glob("*.json")):
        data = {**case.data, "collateral": f"intel-tdx/collateral/{path.name}"}
        found = collateral_of(Case(case.id, case.kind, data, case.folder, case.root))
        told = [json.loads(one) for one in (found.tcb_info, found.qe_identity)]
        if told[0]["fmspc"].lower() == wanted:
            issued = (int(datetime.fromisoformat(one["issueDate"]).timestamp()) for one in told)
            return found, max(case.at, *issued)
    raise WrongFact(f"the set has no collateral for the FMSPC {wanted}")


def _fmspc(quote: bytes) -> str:
    pem = quote[quote.index(b"-----BEGIN CERTIFICATE") :].rstrip(b"\0")
    leaf = parse_certificates(pem)[0]
    value = next(one.value for one in leaf.extensions if one.oid.dotted_string == EXTENSIONS_OID)
    return parse_pck_extensions(value.value).fmspc.hex()


def _policy(evidence: AzureEvidence) -> AzurePolicy:
    """The boot's own PCRs, which the case does not tell of, as they were quoted; it asks for no configuration."""
    pcrs: dict[int, tuple[bytes, ...]] = {index: (evidence.pcrs[SHA256][index],) for index in MEASURED_BOOT}
    return AzurePolicy(vm_configuration={}, tpm=TpmPolicy(bank="sha256", pcrs=pcrs), expressions=())


def _nonce(case: Case, evidence: AzureEvidence) -> bytes:
    told = case.data["expect"].get("tpm_nonce_ascii")
    return evidence.quote.extra_data if told is None else told.encode()


def _hardware_facts(evidence: AzureEvidence) -> dict[str, object]:
    """What cases.json may know of the hardware's report."""
    if evidence.td_quote is not None:
        return body_facts(parse_quote(evidence.td_quote).body)
    return facts(parse_snp_report(evidence.hcl.hardware).report) if evidence.hcl.kind == "snp" else {}


def _require_expected(case: Case, hcl: HclReport, failed: list[str]) -> None:
    """Hold what the case says of signature, chain, binding and quote against the steps.

    Raises:
        WrongFact: one was judged otherwise.
    """
    claimed = hcl.hardware[_REPORT_DATA[hcl.kind]]
    found = {*failed, *examine_runtime(hcl, report_data=claimed).failed}
    parts: Mapping[str, set[str]] = {
        "hw_signature": {"snp.signature", "tdx.signature"},
        "endorsement_chain": {"snp.chain", "tdx.chain"},
        "runtime_data_binding": set(RUNTIME_STEPS[1:]),
        "tpm_quote_signature": {"tpm.signature"},
        "pcr_digest": {"tpm.pcrs", "tpm.pcr-selection"},
    }
    for name, steps in parts.items():
        expected = case.data["expect"].get(name)
        if expected is not None and expected is bool(steps & found):
            raise WrongFact(f"{name} is to be {expected}; failed: {', '.join(failed) or 'nothing'}")


def meaning(path: str, data: bytes) -> object:
    """What of a file is judged: of buffers what is cut out; of certificates the first: one alone is given its chain."""
    try:
        if path.endswith(".json"):
            return parse_azure_buffers(data)
        if path.endswith(".bin"):
            return data[: declared_length(data)]
        return parse_certificates(data)[0]
    except (MalformedInput, TooLarge):
        return data


MEANING: Final = meaning
KINDS: Final = {
    "az-snp-vtpm": judge_az_snp,
    "az-tdx-vtpm": judge_az_tdx,
    "hcl-snp": judge_hcl_snp,
    "hcl-tdx": judge_hcl_tdx,
}
REASONS: Final = (
    (r"(?i)HWID|CHIP_ID|another chip", "snp.chip-id"),
    (r"(?i)did not sign(?! the quote)|(report|hardware) signature", "snp.signature"),
    (r"TDREPORT.*(MAC|quote)|(?i:a TD quote is required)", "azure.hardware"),
    (r"(?i)runtime data[^,;]*(not|differs|another|mismatch|changed|tampered)", "azure.runtime-data"),
    (r"(?i)(quote|AK) signature[^,;]*(not|invalid|wrong|fail)|quote[^,;]*(another|wrong) key", "tpm.signature"),
    (r"(?i)PCR (digest|values?)[^,;]*(not|differ|mismatch|wrong)", "tpm.pcrs"),
    (r"(?i)(no|empty) PCR", "tpm.pcr-selection"),
    (r"(?i)nonce[^,;]*(not|differ|mismatch|another|wrong)", "tpm.nonce"),
    (r"SEPT_VE_DISABLE clear", "tdx.sept-ve"),
    (r"(?i)TD attribute DEBUG", "tdx.debug"),
    (r"(?i)\bold TCB\b|TCB (status )?OutOfDate", "tdx.tcb-status"),
    (r"(?i)SNP.*debug|policy.*debug", "snp.debug"),
    (r"(?i)\bVMPL ?[123]\b", "snp.vmpl"),
)
