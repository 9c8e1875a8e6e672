"""The KMS's settings that bear on security: its evidence binds their digest, its constitution names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from cloister.formats.evidence import SecuritySettings, Unsafe
from cloister.formats.hpke_suite import X_WING
from cloister.formats.identity import LONGEST_LIFE, SHORTEST_LIFE

Duration = Annotated[int, msgspec.Meta(ge=1, le=31 * 86_400)]


class KmsSecurity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[security]` table of a KMS's settings. Changing one makes another KMS: its constitution must name it."""

    challenge_seconds: Duration = 60  # a challenge lives this long
    challenges: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 16_384  # that may be open at once
    epoch_seconds: Duration = 86_400  # clients choose a transport key for this long
    pending_seconds: Duration = 3_600  # before that, it is in the log and gateways can fetch it
    stale_seconds: Duration = 900  # after that, gateways still open with it; then it is erased
    handover_seconds: Duration = 3_600  # that an instance which a successor constitution retired still hands over
    head_seconds: Duration = 30  # a bundle is renewed at least this often
    identity_seconds: Annotated[int, msgspec.Meta(ge=SHORTEST_LIFE, le=LONGEST_LIFE)] = 3_600  # of a certificate
    kem: Literal[0x647A] = X_WING  # of transport keys; X-Wing

    def __post_init__(self) -> None:
        """Check that windows overlap as they should: one pending, one active and at most one stale epoch at a time."""
        if self.pending_seconds >= self.epoch_seconds:
            raise ValueError("pending_seconds must be shorter than epoch_seconds")
        if self.stale_seconds > self.epoch_seconds:
            raise ValueError("stale_seconds must be no longer than epoch_seconds")


def security_settings(security: KmsSecurity, *, unsafe: Sequence[Unsafe]) -> SecuritySettings:
    """What a KMS with these settings binds; `unsafe` is what its constitution's appraisal policy states."""
    return SecuritySettings(role="kms", unsafe=tuple(unsafe), values=msgspec.structs.asdict(security))
