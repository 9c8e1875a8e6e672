"""Which TEE this process runs in: the one that its settings name, or whatever this machine is (`auto`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from cloister.errors import UsageError
from cloister.formats.evidence import GpuEvidence
from cloister.node.evidence import Tee
from cloister.secret import SecretBytes
from cloister.storage.key_file import read_signing_key
from cloister.tee.collectors.collected import Collected, Collector
from cloister.tee.collectors.detected import Wanted, open_collector
from cloister.tee.collectors.machine import Machine
from cloister.tee.collectors.nvml import collect_gpus
from cloister.tee.collectors.sev_derived_key import derived_key
from cloister.tee.measurement import measure_this_process
from cloister.tee.sealing import sealing_key
from cloister.tee.software import SoftwareTee

Platform = Literal["software"] | Wanted


def measured_workload(extra: Mapping[str, bytes]) -> bytes:
    """The measurement of everything that runs in this process, 48 bytes; about a second.

    KMS and gateway run the same closure; `extra` is what a role adds to it: a gateway its sandbox's profile.

    Raises:
        MeasurementRefused, ClosureRefused: this process cannot truly say what it runs.
    """
    return measure_this_process(extra).workload


@dataclass(frozen=True, slots=True)
class HardwareTee:
    """The TEE that this machine is, with its GPUs where they are shown too."""

    collector: Collector
    machine: Machine
    workload: bytes  # as this process finds it; what the loader measured is in the evidence
    with_gpus: bool

    @property
    def platform(self) -> str:
        """As `Tee`."""
        return self.collector.platform

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:
        """As `Tee`."""
        return self.collector.collect(report_data, challenge=challenge)

    def gpus(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        """As `Tee`."""
        if not self.with_gpus:
            return ()
        return tuple(one.evidence for one in collect_gpus(nonce, load=self.machine.nvml))

    def sealing_key(self, context: bytes) -> SecretBytes | None:
        """As `Tee`: of SEV-SNP's secure processor; TDX has no such key, and those of vTPMs and of AWS are not asked."""
        if self.platform != "snp":
            return None
        return sealing_key(derived_key(self.machine), workload=self.workload, context=context)


@dataclass(frozen=True, slots=True)
class TeeSettings:
    """What a service's settings say of its TEE."""

    platform: Platform
    platform_key: Path | None  # of the software TEE: 32 bytes, an Ed25519 seed
    gpus: bool = False  # whether evidence shows the GPUs of this machine

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        if self.platform != "software" and self.platform_key is not None:
            raise UsageError(f"platform_key is the software TEE's, and platform is {self.platform}: leave one out")
        if self.platform == "software" and self.platform_key is None:
            raise UsageError("the software TEE needs `platform_key`, the file of its seed; hardware is platform = auto")
        if self.platform == "software" and self.gpus:
            raise UsageError("gpus: nothing ties a GPU to a software TEE")


def open_tee(settings: TeeSettings, workload: bytes, *, machine: Machine | None = None) -> Tee:
    """The TEE of this process, whose workload was measured to be these 48 bytes.

    Raises:
        UsageError: the platform key cannot be read, or others may read it.
        NoTee, TeeUnavailable, TeeFault, TeeDenied: this machine is no such TEE, and what was looked for.
    """
    if settings.platform == "software":
        key = cast("Path", settings.platform_key)  # the settings have one, then
        return SoftwareTee(read_signing_key(key), workload)
    here = machine or Machine()
    collector = open_collector(here, settings.platform)
    return HardwareTee(collector, here, workload, settings.gpus)
