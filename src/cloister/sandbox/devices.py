"""The devices of this machine that an engine may be given: an NVIDIA GPU's, as its driver names them.

Not tested on a GPU: none was there when this was written. What is known from the driver's documentation is done here;
what it opens besides, on a machine that has one, may be missing.

Source: NVIDIA's Linux driver README, "Device Files"; the MIG user guide for nvidia-caps.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final, Literal

from cloister.sandbox.errors import SandboxUnavailable

Devices = Literal["none", "nvidia"]
UNTESTED: Final = "untested: no GPU was there when this was written"
_NEEDED = ("nvidiactl", "nvidia-uvm")
_KINDS = (
    "nvidia[0-9]*",
    *_NEEDED,
    "nvidia-uvm-tools",
    "nvidia-caps/*",
)  # without nvidia-modeset, which is for displays


def found(devices: Devices, folder: Path = Path("/dev")) -> tuple[str, ...]:
    """The paths of the device files that an engine with these `devices` gets, sorted; of what else is there, none.

    Args:
        devices: which kind.
        folder: where the machine has its devices.

    Raises:
        SandboxUnavailable: there are none, or not all that a GPU is used by.
    """
    if devices == "none":
        return ()
    names = [str(path.relative_to(folder)) for kind in _KINDS for path in folder.glob(kind) if _is_device(path)]
    if missing := [name for name in ("nvidia0", *_NEEDED) if name not in names]:
        raise SandboxUnavailable(
            f"this machine lacks {', '.join(f'/dev/{name}' for name in missing)}, which NVIDIA's driver makes:"
            " as root, nvidia-modprobe -u -c=0 makes them for one that is loaded"
        )
    return tuple(sorted(f"/dev/{name}" for name in names))


def _is_device(path: Path) -> bool:
    return stat.S_ISCHR(path.lstat().st_mode)
