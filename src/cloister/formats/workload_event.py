"""Where a workload measurement stands in hardware (docs/formats/workload-measurement.md).

A measured loader extends a register that begins with zeros, once, before anything of the workload runs. So the
register's value says which workload it was, and that nothing else was extended besides.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

EVENT_TAG: Final = b"cloister workload event v1"
TDX_REGISTER: Final = 3  # RTMR3: RTMR0 to 2 are the firmware's and the kernel's
TPM_REGISTER: Final = 13  # of the static registers the one that Linux's boot leaves alone, but for system extensions
NITRO_REGISTER: Final = 16  # the first that an enclave extends itself; a document shows it once it is locked


def event_digest(workload: bytes, algorithm: Literal["sha256", "sha384"]) -> bytes:
    """What the loader extends the register by: the hash of tag and measurement (48 bytes)."""
    return hashlib.new(algorithm, EVENT_TAG + workload).digest()


def register_value(workload: bytes, algorithm: Literal["sha256", "sha384"]) -> bytes:
    """What the register holds then: 32 bytes of a PCR's SHA-256 bank, 48 of an RTMR or a Nitro PCR."""
    digest = event_digest(workload, algorithm)
    return hashlib.new(algorithm, bytes(len(digest)) + digest).digest()
