"""Evidence as hardware or a cloud hands it out, without a node of ours: held against an appraisal policy by itself.

For people who hold a report in their hands (`cloister evidence verify`). Nothing binds keys, role or settings here, so
that nothing of ours is released on it; what the evidence is to carry, the caller says, or says that anything will do.
The steps are those of `attest.hardware` and `attest.gpus`, under their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cloister.attest.endorsed import Endorsed
from cloister.attest.evidence import EvidenceRejected
from cloister.attest.nvidia.device import DeviceEvidence
from cloister.attest.vendor_gpus import GPU, GpuTerms, check_vendor_gpus
from cloister.attest.vendor_hardware import (
    ANYTHING,
    EXAMINERS,
    HARDWARE_STEPS,
    Registers,
    VendorEvidence,
    VendorTerms,
)
from cloister.examination import Examination, Steps
from cloister.formats.appraisal_policy import Gpu, NitroPlatform, Platform, SoftwarePlatform
from cloister.formats.workload_event import register_value

UNCHECKED: Final = "not checked: any challenge is taken"
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
class AppraisedVendorEvidence:
    """Hardware's evidence that is authentic and meets the policy. It opens no door of ours. Built only here."""

    platform: str
    workload: bytes  # 48 bytes; empty where it was not asked for


def examine_vendor_evidence(
    evidence: VendorEvidence, platform: Platform | None, endorsed: Endorsed, terms: VendorTerms
) -> Examination[AppraisedVendorEvidence]:
    """Examine it in order; no I/O, no clock.

    Args:
        evidence: as it came.
        platform: the policy's part for its platform; None where the policy has none.
        endorsed: what vendors say, from wherever it came.
        terms: what it is held against besides.
    """
    name = evidence.platform
    hardware = HARDWARE_STEPS.get(name, ())
    asked = ("evidence.workload",) if terms.workloads else ()
    steps: Steps = Steps(("evidence.platform", *hardware, GPU, *asked), EvidenceRejected)
    # 1. A platform that the policy takes; an enclave of SGX is none: no node of ours is one.
    taken = platform is not None and not isinstance(platform, SoftwarePlatform) and name in EXAMINERS
    steps.check("evidence.platform", taken, f"platform {name} is not taken by the policy", found=name)
    if platform is None or not taken:
        return steps.stopped()
    # 2. What the hardware signed, and whether it is good enough.
    registers = EXAMINERS[name](steps, evidence, platform, endorsed, terms)
    # 3. Its GPUs, as many as the policy says.
    policy = "none" if isinstance(platform, NitroPlatform | SoftwarePlatform) else platform.gpu
    check_vendor_gpus(steps, evidence.gpus, policy, endorsed, _gpu_terms(terms))
    # 4. The workload, where it is asked for: what hardware measured of it is in one register.
    workload = next((one for one in terms.workloads if registers and _runs(one, registers)), b"")
    if registers and terms.workloads:
        shortfall = "the register of the workload holds none of those asked for"
        steps.check("evidence.workload", bool(workload), shortfall, found=f"{workload.hex()[:16]}…")
    return _told(steps.examined(lambda: AppraisedVendorEvidence(name, workload)), terms)


def examine_vendor_gpus(
    evidence: Sequence[DeviceEvidence], policy: Gpu, endorsed: Endorsed, terms: VendorTerms
) -> Examination[AppraisedVendorEvidence]:
    """Examine GPUs without the machine that they are in, which nothing here ties them to."""
    steps: Steps = Steps((GPU,), EvidenceRejected)
    check_vendor_gpus(steps, evidence, policy, endorsed, _gpu_terms(terms))
    return _told(steps.examined(lambda: AppraisedVendorEvidence("gpu", b"")), terms)


def _gpu_terms(terms: VendorTerms) -> GpuTerms:
    if terms.carried == ANYTHING:
        return GpuTerms(terms.roots, terms.at, "anything")
    return GpuTerms(terms.roots, terms.at, terms.carried.gpu_nonce)


def _told(
    examination: Examination[AppraisedVendorEvidence], terms: VendorTerms
) -> Examination[AppraisedVendorEvidence]:
    """A step that passes whatever came is not said to hold."""
    if terms.carried != ANYTHING:
        return examination
    passed = examination.passed
    fresh = [one.id for one in examination.steps if one.id in FRESHNESS and one.id in passed]
    told = tuple(replace(one, detail=UNCHECKED) if one.id in fresh else one for one in examination.steps)
    return replace(examination, steps=told)


def _runs(workload: bytes, registers: Registers) -> bool:
    held = {"itself": workload}
    held |= {"sha256": register_value(workload, "sha256"), "sha384": register_value(workload, "sha384")}
    return any(held[name] == value for name, value in registers.items())
