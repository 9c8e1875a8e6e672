"""Which TEE this process runs in. Today there is one: the software TEE, which says so everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cloister.storage.key_file import read_signing_key
from cloister.tee.measurement import measure_this_process
from cloister.tee.software import SoftwareTee


def measured_workload(extra: Mapping[str, bytes]) -> bytes:
    """The measurement of everything that runs in this process, 48 bytes; about a second.

    KMS and gateway run the same closure; `extra` is what a role adds to it: a gateway its sandbox's profile.

    Raises:
        MeasurementRefused, ClosureRefused: this process cannot truly say what it runs.
    """
    return measure_this_process(extra).workload


def open_software_tee(platform_key: Path, extra: Mapping[str, bytes]) -> SoftwareTee:
    """The software TEE of this process, with the platform key whose seed is in the file; `extra` is measured too.

    Raises:
        UsageError: the seed cannot be read, or others may read it.
        MeasurementRefused, ClosureRefused: as `measured_workload`.
    """
    return SoftwareTee(read_signing_key(platform_key), measured_workload(extra))
