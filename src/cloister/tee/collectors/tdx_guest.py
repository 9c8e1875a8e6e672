"""`/dev/tdx_guest`, which gives no evidence: only a TDREPORT, whose MAC no other machine can check.

So it is looked at for one reason: to say what is missing where a TD's kernel has it and no configfs-tsm.
Source: include/uapi/linux/tdx-guest.h, TDX_CMD_GET_REPORT0; Intel TDX module specification, TDG.MR.REPORT.
"""

from __future__ import annotations

import os
from typing import Final, NoReturn

from cloister.tee.collectors.collected import NoTee
from cloister.tee.collectors.machine import Machine

DEVICE: Final = "dev/tdx_guest"


def open_tdx_guest(machine: Machine) -> NoReturn:
    """Say what is missing.

    Raises:
        NoTee: always.
    """
    try:
        with machine.opened(DEVICE, os.O_RDWR):
            pass
    except FileNotFoundError:
        raise NoTee("not there") from None
    except OSError as error:
        raise NoTee(f"there, and cannot be opened ({error.strerror}); {_MISSING}") from error
    raise NoTee(f"there; {_MISSING}")


_MISSING: Final = (
    "but it gives a TDREPORT only, which nobody can verify from afar, since its MAC is known to its own CPU alone."
    " A quote comes from configfs-tsm: a kernel from 6.7 with CONFIG_TSM_REPORTS, and a quote generation service on the"
    " host"
)
