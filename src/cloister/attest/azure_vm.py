"""Whole Azure confidential VMs: their hardware's report by `attest.snp` or `attest.tdx`, then what ties the vTPM to it.

Only REPORT_DATA that the hardware was found to have signed is held against the runtime data: where its report is not
authentic, the steps behind it are not reached.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cloister.attest.azure import (
    AZURE_APPRAISAL_STEPS,
    AZURE_STEPS,
    AppraisedAzure,
    AuthenticAzure,
    AzureRejected,
    appraise_azure,
    examine_azure,
    examine_runtime,
)
from cloister.attest.seen import SeenEndorsements
from cloister.attest.snp.appraised import SNP_APPRAISAL_STEPS, AppraisedSnp, appraise_snp
from cloister.attest.snp.authentic import SNP_STEPS, AuthenticSnp, SnpEndorsements, examine_snp
from cloister.attest.tdx.appraised import TDX_APPRAISAL_STEPS, AppraisedTdx, appraise_tdx
from cloister.attest.tdx.authentic import TDX_STEPS, AuthenticTdx, examine_tdx
from cloister.attest.tpm import SignedQuote
from cloister.examination import Examination, Steps
from cloister.formats.azure_evidence import AzureEvidence
from cloister.formats.azure_policy import AzurePolicy
from cloister.formats.intel_collateral import IntelCollateral
from cloister.formats.snp_policy import SnpPolicy, UnsafeSnp
from cloister.formats.snp_tcb import Product
from cloister.formats.td_report import TdReport
from cloister.formats.tdx_policy import TdxPolicy

AZURE_SNP_STEPS = (*SNP_STEPS, *AZURE_STEPS)
AZURE_TDX_STEPS = (*TDX_STEPS, *AZURE_STEPS, "azure.td-report")
AZURE_SNP_APPRAISAL_STEPS = (*SNP_APPRAISAL_STEPS, *AZURE_APPRAISAL_STEPS)
AZURE_TDX_APPRAISAL_STEPS = (*TDX_APPRAISAL_STEPS, *AZURE_APPRAISAL_STEPS)


@dataclass(frozen=True, slots=True)
class AuthenticAzureSnp:
    """An authentic SNP report and the vTPM that it vouches for. Built only here."""

    snp: AuthenticSnp
    azure: AuthenticAzure


@dataclass(frozen=True, slots=True)
class AuthenticAzureTdx:
    """An authentic TD quote and the vTPM that it vouches for. Built only here."""

    tdx: AuthenticTdx
    azure: AuthenticAzure


@dataclass(frozen=True, slots=True)
class AppraisedAzureSnp:
    """Hardware, configuration and PCRs that meet their appraisal policies. Built only here."""

    snp: AppraisedSnp
    azure: AppraisedAzure


@dataclass(frozen=True, slots=True)
class AppraisedAzureTdx:
    """Hardware, configuration and PCRs that meet their appraisal policies. Built only here."""

    tdx: AppraisedTdx
    azure: AppraisedAzure


def examine_azure_snp(
    evidence: AzureEvidence,
    endorsements: SnpEndorsements,
    *,
    roots: Mapping[Product, bytes],
    at: int,
    unsafe: Collection[UnsafeSnp],
    seen: SeenEndorsements,
) -> Examination[AuthenticAzureSnp]:
    """Examine the evidence of a VM on SEV-SNP; but for the evidence, the arguments are those of `examine_snp`."""
    steps: Steps = Steps(AZURE_SNP_STEPS, AzureRejected)
    hardware = examine_snp(evidence.hcl.hardware, endorsements, roots=roots, at=at, unsafe=unsafe, seen=seen)
    snp = steps.include(hardware)
    if snp is None:
        return steps.stopped()
    azure = steps.include(examine_azure(evidence.hcl, _signed(evidence), report_data=snp.report.report_data))
    return steps.stopped() if azure is None else steps.examined(lambda: AuthenticAzureSnp(snp, azure))


def examine_azure_tdx(
    evidence: AzureEvidence, endorsements: IntelCollateral, *, roots: Collection[bytes], at: int, seen: SeenEndorsements
) -> Examination[AuthenticAzureTdx]:
    """Examine the evidence of a VM on TDX; but for the evidence, the arguments are those of `examine_tdx`."""
    steps: Steps = Steps(AZURE_TDX_STEPS, AzureRejected)
    if evidence.td_quote is None:
        steps.include(examine_runtime(evidence.hcl, report_data=None))
        return steps.stopped()
    tdx = steps.include(examine_tdx(evidence.td_quote, endorsements, roots=roots, at=at, seen=seen))
    if tdx is None:
        return steps.stopped()
    azure = steps.include(examine_azure(evidence.hcl, _signed(evidence), report_data=tdx.report.report_data))
    # The TDREPORT, which nobody signed, is dropped; one of another TD would mislead whoever is shown both.
    same = _is_of(evidence.hcl.hardware, tdx.report)
    shortfall = "the TDREPORT beside the quote is of another TD: send the one that the quote was made of"
    steps.check("azure.td-report", same, shortfall, found="of the TD that was quoted")
    return steps.stopped() if azure is None else steps.examined(lambda: AuthenticAzureTdx(tdx, azure))


def appraise_azure_snp(
    authentic: AuthenticAzureSnp, hardware: SnpPolicy, policy: AzurePolicy, *, nonce: bytes
) -> Examination[AppraisedAzureSnp]:
    """Hold hardware and vTPM against their policies. What is fresh is the quote: REPORT_DATA is the runtime data's."""
    steps: Steps = Steps(AZURE_SNP_APPRAISAL_STEPS, AzureRejected)
    report_data = authentic.snp.report.report_data
    snp = steps.include(appraise_snp(authentic.snp, hardware, report_data=report_data))
    azure = steps.include(appraise_azure(authentic.azure, policy, nonce=nonce))
    if snp is None or azure is None:
        return steps.stopped()
    return steps.examined(lambda: AppraisedAzureSnp(snp, azure))


def appraise_azure_tdx(
    authentic: AuthenticAzureTdx, hardware: TdxPolicy, policy: AzurePolicy, *, nonce: bytes, at: int
) -> Examination[AppraisedAzureTdx]:
    """Hold hardware and vTPM against their policies, as `appraise_azure_snp` does, at `at` (seconds since 1970)."""
    steps: Steps = Steps(AZURE_TDX_APPRAISAL_STEPS, AzureRejected)
    report_data = authentic.tdx.report.report_data
    tdx = steps.include(
        appraise_tdx(authentic.tdx, hardware, report_data=report_data, at=at, workloads=())
    )  # its own is in the vTPM
    azure = steps.include(appraise_azure(authentic.azure, policy, nonce=nonce))
    if tdx is None or azure is None:
        return steps.stopped()
    return steps.examined(lambda: AppraisedAzureTdx(tdx, azure))


def _signed(evidence: AzureEvidence) -> SignedQuote:
    return SignedQuote(evidence.quote, evidence.signature, evidence.pcrs)


def _is_of(td_report: bytes, quoted: TdReport) -> bool:
    """Whether a TDREPORT's REPORTDATA (at 128) and TDINFO (at 512; TDX module ABI, TDREPORT) are those quoted."""
    numbers = (quoted.td_attributes.to_bytes(8, "little"), quoted.xfam.to_bytes(8, "little"))
    owners = (quoted.mr_td, quoted.mr_config_id, quoted.mr_owner, quoted.mr_owner_config)
    info = b"".join((*numbers, *owners, *quoted.rtmrs))
    return td_report[128:192] == quoted.report_data and td_report[512 : 512 + len(info)] == info
