"""Evidence as hardware or a cloud hands it out, without a node of ours: held against an appraisal policy by itself.

For people who hold a report in their hands (`cloister evidence verify`). Nothing binds keys, role or settings here, so
that nothing of ours is released on it; what the evidence is to carry, the caller says, or says that anything will do.
The steps are those of `attest.hardware` and `attest.gpus`, under their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from cloister.attest.azure import RUNTIME_STEPS, examine_runtime
from cloister.attest.endorsed import Endorsed
from cloister.attest.evidence import EvidenceRejected
from cloister.attest.gpus import GPU, check_gpus
from cloister.attest.hardware import ANYTHING, HARDWARE_STEPS, HardwarePlatform, HardwareTerms, prove
from cloister.attest.nvidia.device import DeviceEvidence
from cloister.attest.snp.authentic import SNP_STEPS, examine_snp
from cloister.errors import MalformedInput, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.appraisal_policy import (
    AzureSnpPlatform,
    Gpu,
    NitroPlatform,
    Platform,
    SoftwarePlatform,
    VerifierPlatform,
)
from cloister.formats.hcl_report import parse_hcl_report

UNCHECKED: Final = "not checked: any challenge is taken"
_NO_QUOTE: Final = "no quote of the vTPM came along: a report by itself says nothing of what runs now, or for whom"
_PARAVISOR_STEPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"hcl-snp": (*SNP_STEPS, *RUNTIME_STEPS, "tpm.signature"), "hcl-tdx": (*RUNTIME_STEPS, "tpm.signature")}
)
FRESHNESS: Final = (
    "snp.report-data",
    "tdx.report-data",
    "tpm.nonce",
    "nitro.user-data",
    "nitro.nonce",
    "nitro.public-key",
    "gpu.nonce",
)


@dataclass(frozen=True, slots=True)
class VendorEvidence:
    """As it came; nothing in it is trusted yet."""

    platform: str  # snp, tdx, sgx, azure-snp, azure-tdx, nitro; hcl-snp, hcl-tdx: a paravisor's report by itself
    report: bytes
    gpus: tuple[DeviceEvidence, ...]


@dataclass(frozen=True, slots=True)
class AppraisedVendorEvidence:
    """Hardware's evidence that is authentic and meets the policy. It opens no door of ours. Built only here."""

    platform: str
    workload: bytes  # 48 bytes; empty where it was not asked for


def examine_vendor_evidence(
    evidence: VendorEvidence, platform: Platform | None, endorsed: Endorsed, terms: HardwareTerms
) -> Examination[AppraisedVendorEvidence]:
    """Examine it in order; no I/O, no clock.

    Args:
        evidence: as it came.
        platform: the policy's part for its platform; None where the policy has none.
        endorsed: what vendors say, from wherever it came.
        terms: what it is held against besides.
    """
    name = evidence.platform
    hardware = _PARAVISOR_STEPS.get(name) or HARDWARE_STEPS.get(type(platform), ())  # type: ignore[arg-type]  # or none
    asked = ("evidence.workload",) if terms.workloads else ()
    steps: Steps = Steps(("evidence.platform", *hardware, GPU, *asked), EvidenceRejected)
    # 1. A platform that the policy takes; an enclave of SGX is none: no node of ours is one.
    own = not isinstance(platform, SoftwarePlatform | VerifierPlatform)
    taken = platform is not None and own and name != "sgx"
    steps.check("evidence.platform", taken, f"platform {name} is not taken by the policy", found=name)
    if platform is None or isinstance(platform, SoftwarePlatform | VerifierPlatform) or not taken:
        return steps.stopped()
    # 2. What the hardware signed, and whether it is good enough.
    if name in _PARAVISOR_STEPS:
        _check_paravisor(steps, evidence, platform, endorsed, terms)
        return steps.stopped()
    proven = prove(steps, evidence.report, platform, endorsed, terms)
    # 3. Its GPUs, as many as the policy says.
    policy = "none" if isinstance(platform, NitroPlatform) else platform.gpu
    check_gpus(steps, evidence.gpus, policy, endorsed, terms)
    # 4. The workload, where it is asked for: what hardware measured of it is in one register.
    workload = b"" if proven is None else proven.workload
    if proven is not None and terms.workloads:
        shortfall = "the register of the workload holds none of those asked for"
        steps.check("evidence.workload", workload in terms.workloads, shortfall, found=f"{workload.hex()[:16]}…")
    return _told(steps.examined(lambda: AppraisedVendorEvidence(name, workload)), terms)


def _check_paravisor(
    steps: Steps, evidence: VendorEvidence, platform: HardwarePlatform, endorsed: Endorsed, terms: HardwareTerms
) -> None:
    """A report by itself: what there is of it is examined, what is missing is said, and no policy takes it without."""
    hcl = steps.attempt(
        _PARAVISOR_STEPS[evidence.platform][0], lambda: parse_hcl_report(evidence.report), MalformedInput, TooLarge
    )
    report_data = None
    if hcl is not None and isinstance(platform, AzureSnpPlatform):
        roots, unsafe = terms.roots.amd, platform.report.unsafe
        examination = examine_snp(hcl.hardware, endorsed.snp, roots=roots, at=terms.at, unsafe=unsafe, seen=terms.seen)
        authentic = steps.include(examination)
        report_data = None if authentic is None else authentic.report.report_data
    if hcl is not None and (report_data is not None or hcl.kind == "tdx"):
        steps.include(examine_runtime(hcl, report_data=report_data))
    steps.check("tpm.signature", False, _NO_QUOTE)


def examine_vendor_gpus(
    evidence: Sequence[DeviceEvidence], policy: Gpu, endorsed: Endorsed, terms: HardwareTerms
) -> Examination[AppraisedVendorEvidence]:
    """Examine GPUs without the machine that they are in, which nothing here ties them to."""
    steps: Steps = Steps((GPU,), EvidenceRejected)
    check_gpus(steps, evidence, policy, endorsed, terms)
    return _told(steps.examined(lambda: AppraisedVendorEvidence("gpu", b"")), terms)


def _told(
    examination: Examination[AppraisedVendorEvidence], terms: HardwareTerms
) -> Examination[AppraisedVendorEvidence]:
    """A step that passes whatever came is not said to hold."""
    if terms.carried != ANYTHING:
        return examination
    passed = examination.passed
    fresh = [one.id for one in examination.steps if one.id in FRESHNESS and one.id in passed]
    told = tuple(replace(one, detail=UNCHECKED) if one.id in fresh else one for one in examination.steps)
    return replace(examination, steps=told)
