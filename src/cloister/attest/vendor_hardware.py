"""Each platform's hardware by itself: examined and appraised, without a node of ours behind it.

The steps are those of `attest.hardware`, under their ids. What the evidence is to carry, the caller says, or says that
anything will do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal

from cloister.attest.azure import RUNTIME_STEPS, examine_runtime
from cloister.attest.azure_vm import (
    AZURE_SNP_APPRAISAL_STEPS,
    AZURE_SNP_STEPS,
    AZURE_TDX_APPRAISAL_STEPS,
    AZURE_TDX_STEPS,
    appraise_azure_snp,
    appraise_azure_tdx,
    examine_azure_snp,
    examine_azure_tdx,
)
from cloister.attest.endorsed import Endorsed
from cloister.attest.nitro import (
    NITRO_APPRAISAL_STEPS,
    NITRO_STEPS,
    NitroExpected,
    appraise_nitro,
    examine_nitro,
)
from cloister.attest.nvidia.device import DeviceEvidence
from cloister.attest.seen import SEEN_NOTHING
from cloister.attest.snp.appraised import SNP_APPRAISAL_STEPS, appraise_snp
from cloister.attest.snp.authentic import SNP_STEPS, examine_snp
from cloister.attest.tdx.appraised import TDX_APPRAISAL_STEPS, appraise_tdx
from cloister.attest.tdx.authentic import TDX_STEPS, examine_tdx
from cloister.attest.tdx.quote import examine_quote
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Steps
from cloister.formats.appraisal_policy import VendorRoots
from cloister.formats.azure_evidence import parse_azure_buffers
from cloister.formats.event_log import SHA256
from cloister.formats.hcl_report import HclReport, parse_hcl_report
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.workload_event import NITRO_REGISTER, TDX_REGISTER, TPM_REGISTER

ANYTHING: Final = "anything"
_NO_COLLATERAL: Final = "no Intel collateral came along: fetch it for the platform's FMSPC"
_NO_QUOTE: Final = "no quote of the vTPM came along: a report by itself says nothing of what runs now, or for whom"

Registers = Mapping[str, bytes]  # what may hold a workload: its measurement itself, or its register by the hash's name


@dataclass(frozen=True, slots=True)
class VendorEvidence:
    """As it came; nothing in it is trusted yet."""

    platform: str  # snp, tdx, sgx, azure-snp, azure-tdx, nitro; hcl-snp, hcl-tdx: a paravisor's report by itself
    report: bytes
    gpus: tuple[DeviceEvidence, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """What it is to carry, whole."""

    data: bytes  # REPORT_DATA; on Azure the quote's qualifying data; of a Nitro Enclave the user data
    challenge: bytes | None  # of a Nitro Enclave the nonce; None: none
    gpu_nonce: bytes | None  # that GPUs were asked with


@dataclass(frozen=True, slots=True)
class VendorTerms:
    """What it is held against besides the policy's part for its platform."""

    roots: VendorRoots
    at: int  # seconds since 1970
    carried: Carried | Literal["anything"]
    workloads: Collection[bytes]  # measurements of 48 bytes, one of which is to run; empty: not asked


def _snp(steps: Steps, evidence: VendorEvidence, platform: Any, endorsed: Endorsed, terms: VendorTerms) -> Registers:
    policy = platform.report
    examination = examine_snp(
        evidence.report,
        endorsed.snp,
        roots=terms.roots.amd,
        at=terms.at,
        unsafe=policy.unsafe,
        seen=SEEN_NOTHING,
    )
    authentic = steps.include(examination)
    if authentic is None:
        return {}
    report = authentic.report
    wanted = report.report_data if terms.carried == ANYTHING else terms.carried.data
    steps.include(appraise_snp(authentic, policy, report_data=wanted))
    boots = {one.measurement: one.workload for one in platform.images}
    return {"itself": boots.get(report.measurement, b"none")}


def _tdx(steps: Steps, evidence: VendorEvidence, platform: Any, endorsed: Endorsed, terms: VendorTerms) -> Registers:
    roots = terms.roots.intel
    if endorsed.intel is None:
        steps.include(examine_quote(evidence.report, "TDX", roots=roots, at=terms.at))
        steps.check("tdx.lists", False, _NO_COLLATERAL)
        return {}
    examination = examine_tdx(evidence.report, endorsed.intel, roots=roots, at=terms.at, seen=SEEN_NOTHING)
    authentic = steps.include(examination)
    if authentic is None:
        return {}
    report = authentic.report
    wanted = report.report_data if terms.carried == ANYTHING else terms.carried.data
    steps.include(appraise_tdx(authentic, platform.quote, report_data=wanted, at=terms.at, workloads=terms.workloads))
    return {"sha384": report.rtmrs[TDX_REGISTER]}


def _azure_snp(
    steps: Steps, evidence: VendorEvidence, platform: Any, endorsed: Endorsed, terms: VendorTerms
) -> Registers:
    told = steps.attempt("snp.form", lambda: parse_azure_buffers(evidence.report), MalformedInput, TooLarge)
    if told is None:
        return {}
    chain = (told.vcek or b"", *(one for one in endorsed.snp.chain if one != told.vcek))
    examination = examine_azure_snp(
        told,
        replace(endorsed.snp, chain=chain),
        roots=terms.roots.amd,
        at=terms.at,
        unsafe=platform.report.unsafe,
        seen=SEEN_NOTHING,
    )
    authentic = steps.include(examination)
    if authentic is None:
        return {}
    quote = authentic.azure.quote
    wanted = quote.extra_data if terms.carried == ANYTHING else terms.carried.data
    steps.include(appraise_azure_snp(authentic, platform.report, platform.vm, nonce=wanted))
    return {"sha256": quote.pcrs.get(SHA256, {}).get(TPM_REGISTER, b"")}


def _azure_tdx(
    steps: Steps, evidence: VendorEvidence, platform: Any, endorsed: Endorsed, terms: VendorTerms
) -> Registers:
    told = steps.attempt("tdx.quote", lambda: parse_azure_buffers(evidence.report), MalformedInput, TooLarge)
    if told is None:
        return {}
    if endorsed.intel is None:
        steps.check("tdx.lists", False, _NO_COLLATERAL)
        return {}
    examination = examine_azure_tdx(told, endorsed.intel, roots=terms.roots.intel, at=terms.at, seen=SEEN_NOTHING)
    authentic = steps.include(examination)
    if authentic is None:
        return {}
    quote = authentic.azure.quote
    wanted = quote.extra_data if terms.carried == ANYTHING else terms.carried.data
    steps.include(appraise_azure_tdx(authentic, platform.quote, platform.vm, nonce=wanted, at=terms.at))
    return {"sha256": quote.pcrs.get(SHA256, {}).get(TPM_REGISTER, b"")}


def _hcl_snp(
    steps: Steps, evidence: VendorEvidence, platform: Any, endorsed: Endorsed, terms: VendorTerms
) -> Registers:
    """What there is of it is examined; what is missing is said, and no policy takes it without."""
    hcl = _hcl(steps, "snp.form", evidence)
    if hcl is not None:
        examination = examine_snp(
            hcl.hardware,
            endorsed.snp,
            roots=terms.roots.amd,
            at=terms.at,
            unsafe=platform.report.unsafe,
            seen=SEEN_NOTHING,
        )
        authentic = steps.include(examination)
        if authentic is not None:
            steps.include(examine_runtime(hcl, report_data=authentic.report.report_data))
    steps.check("tpm.signature", False, _NO_QUOTE)
    return {}


def _hcl_tdx(
    steps: Steps, evidence: VendorEvidence, _platform: Any, _endorsed: Endorsed, _terms: VendorTerms
) -> Registers:
    hcl = _hcl(steps, "azure.hardware", evidence)
    if hcl is not None:
        steps.include(examine_runtime(hcl, report_data=None))
    steps.check("tpm.signature", False, _NO_QUOTE)
    return {}


def _hcl(steps: Steps, step: str, evidence: VendorEvidence) -> HclReport | None:
    return steps.attempt(step, lambda: parse_hcl_report(evidence.report), MalformedInput, TooLarge)


def _nitro(steps: Steps, evidence: VendorEvidence, platform: Any, _endorsed: Endorsed, terms: VendorTerms) -> Registers:
    signed = steps.attempt("nitro.chain", lambda: parse_nitro_document(evidence.report), MalformedInput, TooLarge)
    if signed is None:
        return {}
    authentic = steps.include(examine_nitro(signed, roots=terms.roots.nitro, at=terms.at))
    if authentic is None:
        return {}
    expected = NitroExpected(authentic.user_data, authentic.nonce, authentic.public_key)
    if terms.carried != ANYTHING:
        expected = NitroExpected(terms.carried.data, terms.carried.challenge, None)
    steps.include(appraise_nitro(authentic, platform.document, expected, at=terms.at))
    return {"sha384": authentic.pcrs.get(NITRO_REGISTER, b"")}


EXAMINERS: Final[Mapping[str, Callable[..., Registers]]] = MappingProxyType(
    {
        "snp": _snp,
        "tdx": _tdx,
        "azure-snp": _azure_snp,
        "azure-tdx": _azure_tdx,
        "hcl-snp": _hcl_snp,
        "hcl-tdx": _hcl_tdx,
        "nitro": _nitro,
    }
)
HARDWARE_STEPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "snp": (*SNP_STEPS, *SNP_APPRAISAL_STEPS),
        "tdx": (*TDX_STEPS, *TDX_APPRAISAL_STEPS),
        "azure-snp": (*AZURE_SNP_STEPS, *AZURE_SNP_APPRAISAL_STEPS),
        "azure-tdx": (*AZURE_TDX_STEPS, *AZURE_TDX_APPRAISAL_STEPS),
        "hcl-snp": (*SNP_STEPS, *RUNTIME_STEPS, "tpm.signature"),
        "hcl-tdx": (*RUNTIME_STEPS, "tpm.signature"),
        "nitro": (*NITRO_STEPS, *NITRO_APPRAISAL_STEPS),
    }
)
