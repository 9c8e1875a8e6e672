"""GPUs and switches of one machine: genuine, and as the policy wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cloister.attest.endorsed import Endorsed
from cloister.attest.hardware import ANYTHING, HardwareTerms
from cloister.attest.nvidia.chain import NvidiaTerms
from cloister.attest.nvidia.device import AuthenticDevice, DeviceEvidence, examine_nvidia_device
from cloister.attest.ocsp import STAPLED
from cloister.examination import Steps
from cloister.formats.appraisal_policy import Gpu

GPU: Final = "evidence.gpu"
_NO_NONCE: Final = "nothing says which nonce the GPUs were asked with: give the 32 bytes"


def check_gpus(
    steps: Steps, evidence: Sequence[DeviceEvidence], policy: Gpu, endorsed: Endorsed, terms: HardwareTerms
) -> tuple[AuthenticDevice, ...]:
    """Examine devices and manifests, and appraise them together; the devices that are genuine.

    Their steps come in before `evidence.gpu`.
    """
    if policy == "none":
        shortfall = f"{len(evidence)} GPUs came along; the policy takes no evidence of any"
        steps.check(GPU, not evidence, shortfall, found="no GPU, as the policy says")
        return ()
    # XML and its signatures take long to import: only who meets a GPU's evidence pays for them.
    from cloister.attest.nvidia.appraisal import appraise_nvidia  # noqa: PLC0415 - see above
    from cloister.attest.nvidia.rim import examine_nvidia_rim  # noqa: PLC0415 - see above

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
    genuine = tuple(one for one in devices if one is not None)
    if len(genuine) < len(devices):
        steps.check(GPU, False, f"{len(devices) - len(genuine)} of {len(devices)} GPUs are not genuine")
        return genuine
    own = genuine[0].nonce if genuine else b""
    rims = [one for one in manifests if one is not None]
    wanted = own if terms.carried == ANYTHING else terms.carried.gpu_nonce
    steps.include(appraise_nvidia(genuine, rims, policy, nonce=own if wanted is None else wanted), before=GPU)
    if wanted is None:
        steps.check("gpu.nonce", False, _NO_NONCE)
    steps.check(GPU, True, "", found=f"{len(genuine)} devices")
    return genuine
