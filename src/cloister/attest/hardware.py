"""What each platform's hardware proves of a node: authentic, appraised, and where workload and binding stand in it.

The table of docs/formats/evidence.md, "Where each platform carries it", is what this module holds to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from cloister.attest.azure import AuthenticAzure
from cloister.attest.azure_vm import appraise_azure_snp, appraise_azure_tdx, examine_azure_snp, examine_azure_tdx
from cloister.attest.endorsed import Endorsed
from cloister.attest.nitro import NitroExpected, appraise_nitro, examine_nitro
from cloister.attest.seen import SEEN_NOTHING, SeenEndorsements
from cloister.attest.snp.appraised import appraise_snp
from cloister.attest.snp.authentic import SnpEndorsements, examine_snp
from cloister.attest.tdx.appraised import appraise_tdx
from cloister.attest.tdx.authentic import examine_tdx
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
from cloister.formats.azure_evidence import parse_azure_evidence
from cloister.formats.event_log import SHA256
from cloister.formats.evidence import Evidence
from cloister.formats.nitro_document import parse_nitro_document
from cloister.formats.td_report import TdReport
from cloister.formats.workload_event import NITRO_REGISTER, TDX_REGISTER, TPM_REGISTER, register_value

HardwarePlatform = SnpPlatform | TdxPlatform | AzureSnpPlatform | AzureTdxPlatform | NitroPlatform
# Where the steps of hardware come in among those of all evidence.
_BEFORE: Final = "evidence.signature"


@dataclass(frozen=True, slots=True)
class Proven:
    """What hardware signed, of whichever platform. Whether it meets the policy, the steps say."""

    platform_measurement: bytes  # 48 bytes
    workload: bytes  # 48 bytes; empty: none of those looked for
    bound: bytes  # the field that carries the binding
    seen: SeenEndorsements = SEEN_NOTHING  # what came along, for the relying party to merge into its memory


@dataclass(frozen=True, slots=True)
class Setting:
    """What evidence is held against besides its platform's own policy."""

    roots: VendorRoots
    at: int  # seconds since 1970
    seen: SeenEndorsements  # what the relying party met before
    workloads: Collection[bytes]  # that the reference values name


def prove(
    steps: Steps, evidence: Evidence, platform: HardwarePlatform, endorsed: Endorsed, setting: Setting
) -> Proven | None:
    """Examine and appraise; nothing where the hardware did not sign it. All steps go into `steps`."""
    return _PROVERS[type(platform)](steps, evidence, platform, endorsed, setting)


def _snp(
    steps: Steps, evidence: Evidence, platform: SnpPlatform, endorsed: Endorsed, setting: Setting
) -> Proven | None:
    """REPORT_DATA binds; the launch measurement covers the command line, and so the root file system's hash."""
    unsafe = platform.report.unsafe
    examination = examine_snp(
        evidence.report, endorsed.snp, roots=setting.roots.amd, at=setting.at, unsafe=unsafe, seen=setting.seen
    )
    authentic = steps.include(examination, before=_BEFORE)
    if authentic is None:
        return None
    report = authentic.report
    steps.include(
        appraise_snp(authentic, platform.report, report_data=evidence.binding.carried_on(evidence.platform)),
        before=_BEFORE,
    )
    workload = next((one.workload for one in platform.images if one.measurement == report.measurement), b"")
    return Proven(report.measurement, workload, report.report_data, authentic.seen)


def _tdx(
    steps: Steps, evidence: Evidence, platform: TdxPlatform, endorsed: Endorsed, setting: Setting
) -> Proven | None:
    """REPORT_DATA binds; RTMR3 holds the workload and nothing else."""
    examination = examine_tdx(
        evidence.report, endorsed.collateral(), roots=setting.roots.intel, at=setting.at, seen=setting.seen
    )
    authentic = steps.include(examination, before=_BEFORE)
    if authentic is None:
        return None
    report = authentic.report
    appraisal = appraise_tdx(
        authentic,
        platform.quote,
        report_data=evidence.binding.carried_on(evidence.platform),
        at=setting.at,
        workloads=setting.workloads,
    )
    steps.include(appraisal, before=_BEFORE)
    workload = _found({one: register_value(one, "sha384") for one in setting.workloads}, report.rtmrs[TDX_REGISTER])
    return Proven(_td_measurement(report), workload, report.report_data, authentic.platform.collateral.seen)


def _azure_snp(
    steps: Steps, evidence: Evidence, platform: AzureSnpPlatform, endorsed: Endorsed, setting: Setting
) -> Proven | None:
    """The paravisor owns REPORT_DATA: the vTPM's qualifying data binds, its PCR 13 holds the workload."""
    told = _parsed(steps, lambda: parse_azure_evidence(evidence.report))
    if told is None:
        return None
    chain = endorsed.snp if told.vcek is None else _with_key(endorsed.snp, told.vcek)
    examination = examine_azure_snp(
        told, chain, roots=setting.roots.amd, at=setting.at, unsafe=platform.report.unsafe, seen=setting.seen
    )
    authentic = steps.include(examination, before=_BEFORE)
    if authentic is None:
        return None
    appraisal = appraise_azure_snp(
        authentic, platform.report, platform.vm, nonce=evidence.binding.carried_on(evidence.platform)
    )
    steps.include(appraisal, before=_BEFORE)
    proven = _vm(authentic.snp.report.measurement, authentic.azure, setting)
    return replace(proven, seen=authentic.snp.seen)


def _azure_tdx(
    steps: Steps, evidence: Evidence, platform: AzureTdxPlatform, endorsed: Endorsed, setting: Setting
) -> Proven | None:
    """As on SEV-SNP, over a TD's quote."""
    told = _parsed(steps, lambda: parse_azure_evidence(evidence.report))
    if told is None:
        return None
    examination = examine_azure_tdx(
        told, endorsed.collateral(), roots=setting.roots.intel, at=setting.at, seen=setting.seen
    )
    authentic = steps.include(examination, before=_BEFORE)
    if authentic is None:
        return None
    appraisal = appraise_azure_tdx(
        authentic, platform.quote, platform.vm, nonce=evidence.binding.carried_on(evidence.platform), at=setting.at
    )
    steps.include(appraisal, before=_BEFORE)
    proven = _vm(_td_measurement(authentic.tdx.report), authentic.azure, setting)
    return replace(proven, seen=authentic.tdx.platform.collateral.seen)


def _nitro(
    steps: Steps, evidence: Evidence, platform: NitroPlatform, _endorsed: Endorsed, setting: Setting
) -> Proven | None:
    """User data binds, the nonce is the challenge, PCR 16 holds the workload: a document shows it once it is locked."""
    signed = _parsed(steps, lambda: parse_nitro_document(evidence.report))
    if signed is None:
        return None
    authentic = steps.include(examine_nitro(signed, roots=setting.roots.nitro, at=setting.at), before=_BEFORE)
    if authentic is None:
        return None
    expected = NitroExpected(
        user_data=evidence.binding.carried_on(evidence.platform), nonce=evidence.binding.challenge, public_key=None
    )
    steps.include(appraise_nitro(authentic, platform.document, expected, at=setting.at), before=_BEFORE)
    known = {one: register_value(one, "sha384") for one in setting.workloads}
    workload = _found(known, authentic.pcrs.get(NITRO_REGISTER, b""))
    return Proven(authentic.pcrs[0], workload, authentic.user_data or b"")


_PROVERS: Final[Mapping[type[HardwarePlatform], Callable[..., Proven | None]]] = MappingProxyType(
    {
        SnpPlatform: _snp,
        TdxPlatform: _tdx,
        AzureSnpPlatform: _azure_snp,
        AzureTdxPlatform: _azure_tdx,
        NitroPlatform: _nitro,
    }
)


def _parsed(steps: Steps, parse: Callable[[], Any]) -> Any:
    return steps.attempt("evidence.signature", parse, MalformedInput, TooLarge)


def _with_key(endorsements: SnpEndorsements, vcek: bytes) -> SnpEndorsements:
    """Azure's evidence has the endorsement key's certificate in it; what came along is what is above."""
    return replace(endorsements, chain=(vcek, *(one for one in endorsements.chain if one != vcek)))


def _vm(below: bytes, azure: AuthenticAzure, setting: Setting) -> Proven:
    """The platform is the hardware's measurement and what the boot left in PCRs 0 to 7."""
    pcrs = azure.quote.pcrs.get(SHA256, {})
    boot = b"".join(pcrs.get(index, b"") for index in range(8))
    known = {one: register_value(one, "sha256") for one in setting.workloads}
    workload = _found(known, pcrs.get(TPM_REGISTER, b""))
    return Proven(hashlib.sha384(below + boot).digest(), workload, azure.quote.extra_data)


def _td_measurement(report: TdReport) -> bytes:
    """One measurement of everything measured of a trust domain but the workload."""
    owners = (report.mr_config_id, report.mr_owner, report.mr_owner_config)
    return hashlib.sha384(b"".join((report.mr_td, *report.rtmrs[:TDX_REGISTER], *owners))).digest()


def _found(known: Mapping[bytes, bytes], value: bytes) -> bytes:
    """The workload whose register has `value`; empty where there is none."""
    return next((workload for workload, register in known.items() if register == value), b"")
