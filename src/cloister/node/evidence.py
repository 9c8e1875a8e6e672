"""Asks the TEE for evidence: the binding's 64 bytes go in, the signed report comes out beside its preimages.

What each field binds is in docs/formats/evidence.md; `attest` judges it.
"""

from __future__ import annotations

from typing import Protocol

from cloister.formats.evidence import Binding, Evidence, NodeKeys, SecuritySettings


class Tee(Protocol):
    """A device that measures what runs here and signs the measurements with 64 bytes of ours."""

    @property
    def platform(self) -> str:
        """The platform's name, as appraisal policies list it."""

    @property
    def workload(self) -> bytes:
        """What was measured of the software that runs, 48 bytes; it is the report that proves it."""

    def report(self, report_data: bytes) -> bytes:
        """The platform's signed report over `report_data`, 64 bytes.

        Raises:
            Unavailable: the device does not answer.
        """


def evidence(tee: Tee, *, challenge: bytes, settings: SecuritySettings, subject: bytes, keys: NodeKeys) -> Evidence:
    """Fresh evidence of this process, in the role that its settings state.

    Args:
        tee: the device.
        challenge: 32 bytes of the relying party's.
        settings: every setting in force that bears on security.
        subject: 32 bytes: the digest of the contract in force; for a KMS, of its constitution.
        keys: the public halves of this process's keys.

    Raises:
        Unavailable: the TEE does not answer.
    """
    binding = Binding(
        challenge=challenge,
        role=settings.role,
        settings=settings.digest(),
        subject=subject,
        keys=keys.thumbprint(),
        gpu=b"",
    )
    return Evidence(
        platform=tee.platform,
        report=tee.report(binding.report_data()),
        endorsements=(),
        binding=binding,
        settings=settings,
        keys=keys,
        gpu=(),
    )
