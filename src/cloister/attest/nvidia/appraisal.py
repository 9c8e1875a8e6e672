"""Holds all GPUs and switches of a machine together against a policy and NVIDIA's manifests; no I/O, no clock.

What binds them to the CPU's evidence is the nonce, which the caller derives from it: a report with another is refused.
What no report says, and no step here can see: whether confidential computing is on, whether DEVTOOLS is off, and
whether the driver in the guest passed the GPU's self-test. The measurements stand for the first two, as in NVIDIA's
own verifier; the rest is the node's to ask its driver for.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloister.attest.nvidia.device import AuthenticDevice, GpuRefused
from cloister.attest.nvidia.rim import AuthenticRim
from cloister.examination import Examination, Steps
from cloister.formats.nvidia_policy import NvidiaPolicy
from cloister.formats.policy_expression import unheld

NVIDIA_APPRAISAL_STEPS: Final = (
    "gpu.nonce",
    "gpu.count",
    "gpu.distinct",
    "gpu.architecture",
    "gpu.fwid-stated",
    "gpu.mode",
    "gpu.links",
    "gpu.driver",
    "gpu.vbios",
    "gpu.rim",
    "gpu.measurements",
    "gpu.expressions",
)
_NVDEC0: Final = 35  # from 0: measured only where the video decoder NVDEC0 is enabled (nvtrust)


@dataclass(frozen=True, slots=True)
class AppraisedNvidia:
    """Genuine devices that answer the nonce and meet the policy."""

    devices: tuple[AuthenticDevice, ...]
    measured: bool  # whether NVIDIA's manifests vouch for what runs on them


@dataclass(frozen=True, slots=True)
class Compared:
    """A device's measurements beside a manifest's: how many match, and which indices (from 0) do not."""

    matched: int
    mismatched: tuple[int, ...]


def compare(device: AuthenticDevice, rim: AuthenticRim) -> Compared:
    """Each active index of the manifest is to be one of its alternatives; index i is block i + 1 of the report."""
    mismatched, matched = list[int](), 0
    for index, alternatives in sorted(rim.manifest.measurements.items()):
        if index == _NVDEC0 and device.kind == "gpu" and device.nvdec0_disabled:
            continue
        block = device.measurements.get(index + 1)
        if block is not None and not block.raw and block.value in alternatives:
            matched += 1
        else:
            mismatched.append(index)
    return Compared(matched, tuple(mismatched))


def appraise_nvidia(
    devices: Sequence[AuthenticDevice], rims: Sequence[AuthenticRim], policy: NvidiaPolicy, *, nonce: bytes
) -> Examination[AppraisedNvidia]:
    """Appraise all devices of one machine. `nonce` is the 32 bytes that each of them was asked with."""
    steps = Steps(NVIDIA_APPRAISAL_STEPS, GpuRefused)
    gpus = [device for device in devices if device.kind == "gpu"]
    switches = [device for device in devices if device.kind == "switch"]
    # 1. Freshness and binding: the nonce is the caller's, derived from the challenge and the CPU's evidence.
    others = [device for device in devices if not hmac.compare_digest(device.nonce, nonce)]
    _hold(steps, "gpu.nonce", others, "answers another nonce: it is not bound to this evidence", found="answered")
    # 2. As many as the policy says, no more and no fewer.
    counts = (len(gpus), len(switches)) == (policy.gpus, policy.switches)
    expected = f"the policy wants {policy.gpus} GPUs and {policy.switches} switches"
    steps.check("gpu.count", counts, f"{len(gpus)} and {len(switches)}; {expected}", found=f"{len(gpus)} GPUs")
    # 3. No device counts twice, whatever it calls itself.
    keys, serials = Counter(one.identity for one in devices), Counter((one.product, one.serial) for one in devices)
    twice = [one for one in devices if keys[one.identity] > 1 or serials[one.product, one.serial] > 1]
    _hold(steps, "gpu.distinct", twice, "is there twice: one device answers for several", found="all distinct")
    # 4. The architecture, which the certificates say.
    foreign = [one for one in gpus if one.chip not in policy.architectures]
    _hold(steps, "gpu.architecture", foreign, f"is none of {_list(policy.architectures)}", found="accepted")
    # 5. GPUs whose reports do not say their firmware id only where the policy says so; those of LS10 never say it.
    silent = [one for one in gpus if not one.states_fwid and not policy.without_fwid]
    _hold(steps, "gpu.fwid-stated", silent, "does not state its firmware id: update the driver", found="as accepted")
    # 6. How GPUs are tied together: all of them in one way, and that an accepted one.
    modes = [one for one in gpus if one.mode not in policy.modes]
    _hold(steps, "gpu.mode", modes, f"is in none of the modes {_list(policy.modes)}", found=_modes(gpus))
    several = len({one.mode for one in gpus}) > 1
    steps.check("gpu.mode", not several, f"the GPUs are in several modes: {_modes(gpus)}", found=_modes(gpus))
    # 7. With NVLink in the clear (protected PCIe) everything at the links has to be there, and trusted too.
    _check_links(steps, gpus, switches, policy)
    # 8. and 9. Versions that the policy names.
    drivers = [one for one in gpus if one.driver not in policy.drivers]
    _hold(steps, "gpu.driver", drivers, f"runs none of the drivers {_list(policy.drivers)}", found="named")
    known = {"gpu": policy.vbioses, "switch": policy.switch_bioses}
    bioses = [one for one in devices if one.vbios not in map(str.upper, known[one.kind])]
    _hold(steps, "gpu.vbios", bioses, "runs a VBIOS that the policy does not name", found="named")
    # 10. and 11. NVIDIA vouches for what was measured.
    _check_measurements(steps, devices, rims, policy)
    # Whatever else the policy says of each device, in expressions.
    unmet = [f"{device.name}: {one}" for device in devices for one in unheld(policy.expressions, _claims(device))]
    steps.check("gpu.expressions", not unmet, "; ".join(unmet), found=f"{len(policy.expressions)} hold")
    measured = "UnsafeAllowUnmeasuredGpu" not in policy.unsafe
    return steps.examined(lambda: AppraisedNvidia(tuple(devices), measured))


def _claims(device: AuthenticDevice) -> dict[str, Any]:
    names = ("chip", "product", "board", "serial", "driver", "vbios", "mode", "kind", "states_fwid", "nvdec0_disabled")
    return {name: getattr(device, name) for name in names}


def _check_links(
    steps: Steps, gpus: Sequence[AuthenticDevice], switches: Sequence[AuthenticDevice], policy: NvidiaPolicy
) -> None:
    """The GPUs' switches are those that attested, and the switches know of no GPU besides (nvtrust, topology check)."""
    if all(one.mode != "protected-pcie" for one in gpus):
        steps.check("gpu.links", True, "", found="not in the clear, or not told")
        return
    if "UnsafeAllowUnattestedSwitches" in policy.unsafe:
        steps.check("gpu.links", True, "", found="not held: UnsafeAllowUnattestedSwitches")
        return
    attested = frozenset(one.link_id for one in switches)
    strange = [one for one in gpus if one.linked != attested]
    _hold(steps, "gpu.links", strange, "has links in the clear to other switches than attested", found=_count(switches))
    known = {one.linked for one in switches}
    shortfall = f"the switches do not name the same {len(gpus)} GPUs, as many as attested"
    steps.check("gpu.links", [len(one) for one in known] == [len(gpus)], shortfall, found=_count(switches))


def _count(switches: Sequence[AuthenticDevice]) -> str:
    return f"to {len(switches)} switches that attested"


def _check_measurements(
    steps: Steps, devices: Sequence[AuthenticDevice], rims: Sequence[AuthenticRim], policy: NvidiaPolicy
) -> None:
    """The manifests of the very versions that the reports say, and every index that is active in them."""
    if "UnsafeAllowUnmeasuredGpu" in policy.unsafe:
        for step in ("gpu.rim", "gpu.measurements"):
            steps.check(step, True, "", found="not held against NVIDIA's manifests: UnsafeAllowUnmeasuredGpu")
        return
    missing, wrong, matched = list[str](), list[str](), 0
    for device in devices:
        found = [_choose(device, rims, version) for version in _wanted(device)]
        lacking = [version for version, rim in zip(_wanted(device), found, strict=True) if rim is None]
        missing += [f"no RIM of {device.product} {version}: import it, or fetch it" for version in lacking]
        chosen = [rim for rim in found if rim is not None]
        compared = [compare(device, rim) for rim in chosen]
        matched += sum(one.matched for one in compared)
        mismatched = sorted(index for one in compared for index in one.mismatched)
        if mismatched:
            wrong.append(f"{device.name} differs from NVIDIA's manifests at index {_list(mismatched)}")
        twice = [
            index for index, count in Counter(i for r in chosen for i in r.manifest.measurements).items() if count > 1
        ]
        if twice:
            wrong.append(f"the manifests of {device.name} both speak of index {_list(sorted(twice))}")
    steps.check("gpu.rim", not missing, "; ".join(missing), found="of the versions that run")
    steps.check("gpu.measurements", not wrong, "; ".join(wrong), found=f"{matched} match")


def _wanted(device: AuthenticDevice) -> tuple[str, ...]:
    """The versions whose manifests are needed: a switch has a BIOS only."""
    return (device.vbios,) if device.kind == "switch" else (device.driver, device.vbios)


def _choose(device: AuthenticDevice, rims: Sequence[AuthenticRim], version: str) -> AuthenticRim | None:
    """The manifest of this version; of several (boards share versions of a VBIOS), the one that fits best."""
    fitting = [
        rim
        for rim in rims
        if rim.kind == device.kind
        and rim.manifest.version.upper() == version.upper()
        and rim.manifest.product in (device.product, device.board)
    ]
    return min(fitting, key=lambda rim: len(compare(device, rim).mismatched), default=None)


def _hold(steps: Steps, step: str, failing: Sequence[AuthenticDevice], shortfall: str, *, found: str) -> None:
    named = Counter(device.name for device in failing)
    steps.check(step, not failing, "; ".join(f"{name} {shortfall}" for name in named), found=found)


def _list(words: Sequence[object]) -> str:
    return ", ".join(map(str, words)) or "(empty)"


def _modes(gpus: Sequence[AuthenticDevice]) -> str:
    return _list(sorted({one.mode for one in gpus}))
