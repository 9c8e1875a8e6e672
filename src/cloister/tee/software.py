"""The software TEE: measures truly, signs with a key that lies on this machine, protects nothing from its owner."""

from __future__ import annotations

import hashlib
from typing import Final

from cloister.crypto.cose import sign1
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.evidence import SOFTWARE_REPORT_TYPE, GpuEvidence, SoftwareReport
from cloister.secret import SecretBytes
from cloister.tee.collectors.collected import Collected
from cloister.tee.sealing import sealing_key

SENTENCE: Final = "software TEE: protects nothing from this machine's owner"
PLATFORM_MEASUREMENT: Final = hashlib.sha384(SENTENCE.encode()).digest()


class SoftwareTee:
    """Signs reports over this process's workload measurement with the local platform key."""

    platform: Final = "software"

    def __init__(self, platform_key: SigningKey, workload: bytes) -> None:
        """Take the key, and the 48 bytes that `tee.measurement` found."""
        self._key = platform_key
        self.workload = workload

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:  # noqa: ARG002 - the report has one field
        """The signed report over `report_data`, 64 bytes."""
        report = SoftwareReport(
            platform_measurement=PLATFORM_MEASUREMENT, workload=self.workload, report_data=report_data
        )
        return Collected(sign1(self._key, canonical.encode(report), content_type=SOFTWARE_REPORT_TYPE))

    def sealing_key(self, context: bytes) -> SecretBytes:
        """As `Tee`: from the platform key, so whoever reads this machine's files can unseal what it seals."""
        return sealing_key(self._key.seed, workload=self.workload, context=context)

    def gpus(self, nonce: bytes) -> tuple[GpuEvidence, ...]:  # noqa: ARG002 - there is none to ask
        """None: nothing ties a GPU to a software TEE."""
        return ()
