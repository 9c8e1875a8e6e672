"""Asks the TEE for evidence: the binding goes in, the signed report comes out beside its preimages.

What each field binds is in docs/formats/evidence.md; `attest` judges it.
"""

from __future__ import annotations

from typing import Protocol

from cloister.formats.evidence import Binding, Evidence, GpuEvidence, NodeKeys, SecuritySettings, gpu_digest, gpu_nonce
from cloister.secret import SecretBytes
from cloister.tee.collectors.collected import Collected


class Tee(Protocol):
    """A device that measures what runs here and signs the measurements with bytes of ours."""

    @property
    def platform(self) -> str:
        """The platform's name, as appraisal policies list it."""

    @property
    def workload(self) -> bytes:
        """What was measured of the software that runs, 48 bytes; it is the report that proves it."""

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:
        """The platform's signed report over what the binding has this platform carry; seconds where hardware is slow.

        Raises:
            NoTee, TeeUnavailable, TeeFault, TeeDenied: the device does not answer, and why.
        """

    def gpus(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        """What every GPU and switch of this node says to `nonce`, 32 bytes; empty where the node has none.

        Raises:
            As `collect`.
        """

    def sealing_key(self, context: bytes) -> SecretBytes | None:
        """A key for `context` that only this workload gets again, on this platform; None where there is no such key.

        Raises:
            As `collect`.
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
        NoTee, TeeUnavailable, TeeFault, TeeDenied: the TEE does not answer.
    """
    thumbprint = keys.thumbprint()
    gpus = tee.gpus(gpu_nonce(challenge, thumbprint))
    binding = Binding(
        challenge=challenge,
        role=settings.role,
        settings=settings.digest(),
        subject=subject,
        keys=thumbprint,
        gpu=gpu_digest(gpus),
    )
    collected = tee.collect(binding.carried_on(tee.platform), challenge=challenge)
    return Evidence(
        platform=tee.platform,
        report=collected.report,
        endorsements=collected.endorsements,
        binding=binding,
        settings=settings,
        keys=keys,
        gpu=gpus,
    )
