"""What the part of a policy for NVIDIA's GPUs and switches says."""

from __future__ import annotations

from typing import Final, get_args

from cloister.cli.explained.policy_words import Words
from cloister.formats.appraisal_policy import Gpu
from cloister.formats.nvidia_policy import NvidiaPolicy, NvidiaUnsafe

_MODES: Final = {
    "single": "one by one",
    "multi": "several, with encrypted NVLink between them",
    "protected-pcie": "several, with NVLink in the clear behind switches that have to be there and trusted too",
    "unstated": "whose driver does not say how they are tied (before 590)",
}


def explain_gpu(policy: Gpu, words: Words) -> None:
    """Every field of it, as `gpu.…`."""
    if not isinstance(policy, NvidiaPolicy):
        words.take("gpu", "No GPU: evidence that brings one along is refused.")
        return
    words.strict("gpu.unsafe", policy.unsafe, get_args(NvidiaUnsafe))
    words.take("gpu.gpus", f"Exactly {policy.gpus} GPUs, no two the same.")
    words.take("gpu.switches", f"Exactly {policy.switches} switches, no two the same.")
    words.named("gpu.architectures", policy.architectures, "architecture", f"taken: {', '.join(policy.architectures)}")
    for mode in policy.modes:
        say = words.take if mode in ("single", "multi") else words.relax
        say("gpu.modes", f"{mode}: GPUs {_MODES[mode]}.")
    if not policy.modes:
        words.named("gpu.modes", policy.modes, "mode", "taken")
    words.named("gpu.drivers", policy.drivers, "driver", f"taken: {', '.join(policy.drivers)}")
    words.named("gpu.vbioses", policy.vbioses, "VBIOS", f"taken: {', '.join(policy.vbioses)}")
    if policy.switches:
        told = f"taken: {', '.join(policy.switch_bioses)}"
        words.named("gpu.switch_bioses", policy.switch_bioses, "BIOS of switches", told)
    if policy.without_fwid:
        words.relax(
            "gpu.without_fwid", "GPUs whose reports do not say their firmware id are taken (drivers before 550)."
        )
    else:
        words.take("gpu.without_fwid", "Reports have to say their firmware id.")
    words.asked("gpu.expressions", policy.expressions)
    says = "Whether confidential computing is on, no report says: the measurements stand for it, and the node's driver."
    words.relax("gpu", says)
