"""The GPUs of a node: genuine, appraised, and bound to the CPU's evidence by what they were asked with."""

from __future__ import annotations

from cloister.attest.endorsed import Endorsed
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import AuthenticDevice, DeviceEvidence, examine_nvidia_device
from cloister.attest.ocsp import STAPLED
from cloister.examination import Steps
from cloister.formats.appraisal_policy import Gpu, VendorRoots
from cloister.formats.evidence import Evidence, gpu_nonce

_BEFORE = "evidence.settings-digest"


def check_gpus(
    steps: Steps, evidence: Evidence, policy: Gpu, endorsed: Endorsed, *, roots: VendorRoots, at: int
) -> tuple[AuthenticDevice, ...]:
    """Examine all devices and manifests; the devices that are genuine. All steps go into `steps`."""
    if policy == "none":
        shortfall = f"{len(evidence.gpu)} GPUs came along; the policy takes no evidence of any"
        steps.check("evidence.gpu", not evidence.gpu, shortfall, found="no GPU")
        return ()
    # XML and its signatures take long to import: only who meets a GPU's evidence pays for them.
    from cloister.attest.nvidia.appraisal import appraise_nvidia  # noqa: PLC0415 - see above
    from cloister.attest.nvidia.rim import examine_nvidia_rim  # noqa: PLC0415 - see above

    terms = NvidiaTerms(
        devices=roots.nvidia_devices,
        manifests=roots.nvidia_manifests,
        answers=endorsed.answers,
        nonce=STAPLED,
        at=at,
        unsafe=policy.unsafe,
    )
    devices = [
        steps.include(examine_nvidia_device(DeviceEvidence(one.report, one.chain), terms), before=_BEFORE)
        for one in evidence.gpu
    ]
    manifests = [steps.include(examine_nvidia_rim(data, terms), before=_BEFORE) for data in endorsed.manifests]
    genuine = tuple(one for one in devices if one is not None)
    if len(genuine) == len(devices):
        nonce = gpu_nonce(evidence.binding.challenge, evidence.binding.keys)
        rims = [one for one in manifests if one is not None]
        steps.include(appraise_nvidia(genuine, rims, policy, nonce=nonce), before=_BEFORE)
    return genuine
