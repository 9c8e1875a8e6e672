"""The part of an appraisal policy for NVIDIA's GPUs and switches: every check is stated, and empty lists take nothing.

What relaxes is a field of its own that has to be said, or an `Unsafe…` name.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats.canonical import Name
from cloister.formats.policy_expression import Expressions, require_expressions

Architecture = Literal["hopper", "blackwell"]
# How the GPUs of a machine are tied, as reports of newer drivers say: one by one (SPT), several with encrypted NVLink
# (MPT), several with NVLink in the clear behind trusted switches (protected PCIe). Older drivers do not say.
GpuMode = Literal["single", "multi", "protected-pcie", "unstated"]
NvidiaUnsafe = Literal[
    "UnsafeAllowUncheckedRevocation",
    "UnsafeAllowUnmeasuredGpu",
    "UnsafeAllowUnattestedSwitches",  # under protected PCIe, which has data in the clear on the links to them
]
_Devices = Annotated[int, msgspec.Meta(ge=0, le=64)]
_Versions = Annotated[tuple[Name, ...], msgspec.Meta(max_length=64)]


class NvidiaPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What GPUs and switches have to be like."""

    gpus: _Devices  # exactly so many, no two of them the same
    switches: _Devices  # likewise
    architectures: Annotated[tuple[Architecture, ...], msgspec.Meta(max_length=8)]
    modes: Annotated[tuple[GpuMode, ...], msgspec.Meta(max_length=8)]
    drivers: _Versions  # of GPUs, as "550.90.07"
    vbioses: _Versions  # of GPUs, as "96.00.9F.00.01"
    switch_bioses: _Versions  # as "96.10.55.00.01"
    without_fwid: bool  # whether reports of GPUs are taken that do not say the firmware id (drivers before 550)
    unsafe: Annotated[tuple[NvidiaUnsafe, ...], msgspec.Meta(max_length=3)]
    expressions: Expressions  # that have to be true of what each device says; docs/formats/expressions.md

    def __post_init__(self) -> None:
        """Refuse what is no expression.

        Raises:
            ValueError: which, and why.
        """
        require_expressions(self.expressions)
