"""What each platform's hardware proves: examined, appraised, and where workload and binding stand in it.

The table of docs/formats/evidence.md, "Where each platform carries it", is what this module holds to. A node's evidence
is judged by these (`attest.evidence`), and so is what people hold in their hands (`attest.vendor_evidence`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal

from cloister.attest.azure import AuthenticAzure, claims_of_vm
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
    claims_of_enclave,
    examine_nitro,
)
from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements
from cloister.attest.snp.appraised import SNP_APPRAISAL_STEPS, appraise_snp, claims_of_snp
from cloister.attest.snp.authentic import SNP_STEPS, SnpEndorsements, examine_snp
from cloister.attest.tdx.appraised import TDX_APPRAISAL_STEPS, appraise_tdx, claims_of_td
from cloister.attest.tdx.authentic import TDX_STEPS, examine_tdx
from cloister.attest.tdx.quote import examine_quote
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Steps
from cloister.formats.appraisal_policy import (
    AzureSnpPlatform,
    AzureTdxPlatform,
    NitroPlatform,
    SnpPlatform,
    TdxPlatform,
    VendorRoots,
)
from cloister.formats.azure_evidence import parse_azure_buffers
from cloister.formats.event_log import SHA256
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.td_report import TdReport
from cloister.formats.workload_event import NITRO_REGISTER, TDX_REGISTER, TPM_REGISTER, register_value

HardwarePlatform = SnpPlatform | TdxPlatform | AzureSnpPlatform | AzureTdxPlatform | NitroPlatform
HARDWARE_STEPS: Final[Mapping[type[HardwarePlatform], tuple[str, ...]]] = MappingProxyType(
    {
        SnpPlatform: (*SNP_STEPS, *SNP_APPRAISAL_STEPS),
        TdxPlatform: (*TDX_STEPS, *TDX_APPRAISAL_STEPS),
        AzureSnpPlatform: (*AZURE_SNP_STEPS, *AZURE_SNP_APPRAISAL_STEPS),
        AzureTdxPlatform: (*AZURE_TDX_STEPS, *AZURE_TDX_APPRAISAL_STEPS),
        NitroPlatform: (*NITRO_STEPS, *NITRO_APPRAISAL_STEPS),
    }
)
ANYTHING: Final = "anything"
NO_COLLATERAL: Final = "no Intel collateral came along: fetch it for the platform's FMSPC"


@dataclass(frozen=True, slots=True)
class Carried:
    """What evidence is to carry, whole."""

    data: bytes  # REPORT_DATA; on Azure the quote's qualifying data; of a Nitro Enclave the user data
    challenge: bytes | None  # of a Nitro Enclave the nonce; None: none
    gpu_nonce: bytes | None  # 32 bytes that GPUs were asked with; None: nobody said


@dataclass(frozen=True, slots=True)
class HardwareTerms:
    """What evidence is held against besides the policy's part for its platform."""

    roots: VendorRoots
    at: int  # seconds since 1970
    seen: SeenEndorsements  # what the relying party met before
    carried: Carried | Literal["anything"]  # anything: only for people who say so, and are told
    workloads: Collection[bytes]  # of 48 bytes, one of which is to run


@dataclass(frozen=True, slots=True)
class Proven:
    """What hardware signed, of whichever platform. Whether it meets the policy, the steps say."""

    platform_measurement: bytes  # 48 bytes
    workload: bytes  # 48 bytes; empty: none of those looked for
    bound: bytes  # the field that carries the binding
    seen: SeenEndorsements  # what came along, for the relying party to merge into its memory
    claims: Mapping[str, Any]  # what was signed, by the names that expressions use (docs/formats/expressions.md)


def prove(
    steps: Steps, report: bytes, platform: HardwarePlatform, endorsed: Endorsed, terms: HardwareTerms
) -> Proven | None:
    """Examine and appraise; nothing where the hardware did not sign it. All of `HARDWARE_STEPS` go into `steps`."""
    return _PROVERS[type(platform)](steps, report, platform, endorsed, terms)


def _snp(steps: Steps, report: bytes, platform: SnpPlatform, endorsed: Endorsed, terms: HardwareTerms) -> Proven | None:
    """REPORT_DATA binds; the launch measurement covers the command line, and so the root file system's hash."""
    unsafe = platform.report.unsafe
    examination = examine_snp(report, endorsed.snp, roots=terms.roots.amd, at=terms.at, unsafe=unsafe, seen=terms.seen)
    authentic = steps.include(examination)
    if authentic is None:
        return None
    found = authentic.report
    steps.include(appraise_snp(authentic, platform.report, report_data=_wanted(terms, found.report_data)))
    boots = {one.measurement: one.workload for one in platform.images}
    workload = boots.get(found.measurement, b"")
    return Proven(found.measurement, workload, found.report_data, authentic.seen, {"snp": claims_of_snp(authentic)})


def _tdx(steps: Steps, report: bytes, platform: TdxPlatform, endorsed: Endorsed, terms: HardwareTerms) -> Proven | None:
    """REPORT_DATA binds; RTMR3 holds the workload and nothing else."""
    roots = terms.roots.intel
    if endorsed.intel is None:
        steps.include(examine_quote(report, "TDX", roots=roots, at=terms.at))
        steps.check("tdx.lists", False, NO_COLLATERAL)
        return None
    authentic = steps.include(examine_tdx(report, endorsed.intel, roots=roots, at=terms.at, seen=terms.seen))
    if authentic is None:
        return None
    found = authentic.report
    wanted = _wanted(terms, found.report_data)
    appraised = steps.include(
        appraise_tdx(authentic, platform.quote, report_data=wanted, at=terms.at, workloads=terms.workloads)
    )
    workload = _workload(terms, "sha384", found.rtmrs[TDX_REGISTER])
    claims = {"tdx": claims_of_td(authentic, None if appraised is None else appraised.tcb)}
    return Proven(_td_measurement(found), workload, found.report_data, authentic.platform.collateral.seen, claims)


def _azure_snp(
    steps: Steps, report: bytes, platform: AzureSnpPlatform, endorsed: Endorsed, terms: HardwareTerms
) -> Proven | None:
    """The paravisor owns REPORT_DATA: the vTPM's qualifying data binds, its PCR 13 holds the workload."""
    told = steps.attempt("snp.form", lambda: parse_azure_buffers(report), MalformedInput, TooLarge)
    if told is None:
        return None
    chain = endorsed.snp if told.vcek is None else _with_key(endorsed.snp, told.vcek)
    roots, unsafe = terms.roots.amd, platform.report.unsafe
    examination = examine_azure_snp(told, chain, roots=roots, at=terms.at, unsafe=unsafe, seen=terms.seen)
    authentic = steps.include(examination)
    if authentic is None:
        return None
    wanted = _wanted(terms, authentic.azure.quote.extra_data)
    steps.include(appraise_azure_snp(authentic, platform.report, platform.vm, nonce=wanted))
    vm = _vm(authentic.snp.report.measurement, authentic.azure, terms, authentic.snp.seen)
    return replace(vm, claims={**vm.claims, "snp": claims_of_snp(authentic.snp)})


def _azure_tdx(
    steps: Steps, report: bytes, platform: AzureTdxPlatform, endorsed: Endorsed, terms: HardwareTerms
) -> Proven | None:
    """As on SEV-SNP, over a TD's quote."""
    told = steps.attempt("tdx.quote", lambda: parse_azure_buffers(report), MalformedInput, TooLarge)
    if told is None:
        return None
    if endorsed.intel is None:
        steps.check("tdx.lists", False, NO_COLLATERAL)
        return None
    examination = examine_azure_tdx(told, endorsed.intel, roots=terms.roots.intel, at=terms.at, seen=terms.seen)
    authentic = steps.include(examination)
    if authentic is None:
        return None
    wanted = _wanted(terms, authentic.azure.quote.extra_data)
    appraised = steps.include(appraise_azure_tdx(authentic, platform.quote, platform.vm, nonce=wanted, at=terms.at))
    below, seen = _td_measurement(authentic.tdx.report), authentic.tdx.platform.collateral.seen
    claims = claims_of_td(authentic.tdx, None if appraised is None else appraised.tdx.tcb)
    vm = _vm(below, authentic.azure, terms, seen)
    return replace(vm, claims={**vm.claims, "tdx": claims})


def _nitro(
    steps: Steps, report: bytes, platform: NitroPlatform, _endorsed: Endorsed, terms: HardwareTerms
) -> Proven | None:
    """User data binds, the nonce is the challenge, PCR 16 holds the workload: a document shows it once it is locked."""
    signed = steps.attempt("nitro.chain", lambda: parse_nitro_document(report), MalformedInput, TooLarge)
    if signed is None:
        return None
    authentic = steps.include(examine_nitro(signed, roots=terms.roots.nitro, at=terms.at))
    if authentic is None:
        return None
    expected = NitroExpected(authentic.user_data, authentic.nonce, authentic.public_key)
    if terms.carried != ANYTHING:
        expected = NitroExpected(terms.carried.data, terms.carried.challenge, None)
    steps.include(appraise_nitro(authentic, platform.document, expected, at=terms.at))
    workload = _workload(terms, "sha384", authentic.pcrs.get(NITRO_REGISTER, b""))
    claims = {"nitro": claims_of_enclave(authentic)}
    return Proven(authentic.pcrs.get(0, b""), workload, authentic.user_data or b"", SEEN_NOTHING, claims)


_PROVERS: Final[Mapping[type[HardwarePlatform], Callable[..., Proven | None]]] = MappingProxyType(
    {
        SnpPlatform: _snp,
        TdxPlatform: _tdx,
        AzureSnpPlatform: _azure_snp,
        AzureTdxPlatform: _azure_tdx,
        NitroPlatform: _nitro,
    }
)


def _wanted(terms: HardwareTerms, found: bytes) -> bytes:
    """What the field is to hold; where anything will do, what it holds."""
    return found if terms.carried == ANYTHING else terms.carried.data


def _with_key(endorsements: SnpEndorsements, vcek: bytes) -> SnpEndorsements:
    """Azure's evidence has the endorsement key's certificate in it; what came along is what is above."""
    return replace(endorsements, chain=(vcek, *(one for one in endorsements.chain if one != vcek)))


def _vm(below: bytes, azure: AuthenticAzure, terms: HardwareTerms, seen: SeenEndorsements) -> Proven:
    """The platform is the hardware's measurement and what the boot left in PCRs 0 to 12."""
    pcrs = azure.quote.pcrs.get(SHA256, {})
    boot = b"".join(pcrs.get(index, b"") for index in range(TPM_REGISTER))
    workload = _workload(terms, "sha256", pcrs.get(TPM_REGISTER, b""))
    measurement, claims = hashlib.sha384(below + boot).digest(), {"azure": claims_of_vm(azure)}
    return Proven(measurement, workload, azure.quote.extra_data, seen, claims)


def _td_measurement(report: TdReport) -> bytes:
    """One measurement of everything measured of a trust domain but the workload."""
    owners = (report.mr_config_id, report.mr_owner, report.mr_owner_config)
    return hashlib.sha384(b"".join((report.mr_td, *report.rtmrs[:TDX_REGISTER], *owners))).digest()


def _workload(terms: HardwareTerms, algorithm: Literal["sha256", "sha384"], register: bytes) -> bytes:
    """The workload that the register tells of, among those looked for; empty where it tells of none."""
    return next((one for one in terms.workloads if register_value(one, algorithm) == register), b"")
