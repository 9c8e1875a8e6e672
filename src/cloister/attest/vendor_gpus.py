"""GPUs and switches by themselves, as drivers hand out evidence of them: for people who hold it in their hands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cloister.attest.endorsed import Endorsed
from cloister.attest.nvidia.appraisal import appraise_nvidia
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import DeviceEvidence, examine_nvidia_device
from cloister.attest.nvidia.rim import examine_nvidia_rim
from cloister.attest.ocsp import STAPLED
from cloister.examination import Steps
from cloister.formats.appraisal_policy import Gpu, VendorRoots

GPU: Final = "evidence.gpu"
_NO_NONCE: Final = "nothing says which nonce the GPUs were asked with: give the 32 bytes"


@dataclass(frozen=True, slots=True)
class GpuTerms:
    """What devices are held against besides the policy."""

    roots: VendorRoots
    at: int  # seconds since 1970
    nonce: bytes | Literal["anything"] | None  # 32 bytes that all were asked with; None: nobody said


def check_vendor_gpus(
    steps: Steps, evidence: Sequence[DeviceEvidence], policy: Gpu, endorsed: Endorsed, terms: GpuTerms
) -> None:
    """Examine and appraise all devices of one machine; their steps come in before `evidence.gpu`, which ends them."""
    if policy == "none":
        shortfall = f"{len(evidence)} GPUs came along; the policy takes no evidence of any"
        steps.check(GPU, not evidence, shortfall, found="no GPU, as the policy says")
        return
    held = NvidiaTerms(
        devices=terms.roots.nvidia_devices,
        manifests=terms.roots.nvidia_manifests,
        answers=endorsed.answers,
        nonce=STAPLED,
        at=terms.at,
        unsafe=policy.unsafe,
    )
    devices = [steps.include(examine_nvidia_device(one, held), before=GPU) for one in evidence]
    manifests = [steps.include(examine_nvidia_rim(data, held), before=GPU) for data in endorsed.manifests]
    genuine = [one for one in devices if one is not None]
    if len(genuine) < len(devices):
        steps.check(GPU, False, f"{len(devices) - len(genuine)} of {len(devices)} GPUs are not genuine")
        return
    own = genuine[0].nonce if genuine else b""
    nonce = terms.nonce if isinstance(terms.nonce, bytes) else own
    rims = [one for one in manifests if one is not None]
    appraisal = appraise_nvidia(genuine, rims, policy, nonce=nonce)
    steps.include(appraisal, before=GPU)
    if terms.nonce is None:
        steps.check("gpu.nonce", False, _NO_NONCE)
    met = not appraisal.failed and terms.nonce is not None
    steps.check(GPU, met, "what came along of GPUs is not what the policy wants", found=f"{len(genuine)} devices")
