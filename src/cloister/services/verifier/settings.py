"""A verifier's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from cloister.endorsements.endorsing import EndorsementSettings
from cloister.errors import UsageError
from cloister.formats.attestation_result import MAXIMUM_LIFETIME
from cloister.formats.canonical import Name
from cloister.hosting.listening import require_for_everyone
from cloister.hosting.logs import LogLevel
from cloister.hosting.loopback import LOOPBACK, Port
from cloister.hosting.needed_file import NeededFile
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.tls import ServerTls

Issuer = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^https?://[!-~]+[^/]\Z")]


class VerifierLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[tokens]` table: how long things live."""

    challenge_seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = 60
    challenges: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 16_384  # that may be open at once
    token_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_LIFETIME)] = MAXIMUM_LIFETIME
    key_seconds: Annotated[int, msgspec.Meta(ge=3600, le=366 * 86_400)] = 30 * 86_400  # a key signs for this long


@dataclass(frozen=True, slots=True)
class VerifierSettings:
    """Relying parties know a verifier by its issuer's name and keys."""

    port: Port
    issuer: Issuer  # the URL under which relying parties reach it: the `iss` of its tokens
    folder: Path  # its signing keys are made in it
    policies: dict[Name, NeededFile]  # by name; each a file of a verifier's policy
    address: str = LOOPBACK  # an IP address; another machine's callers need `tls`
    tls: ServerTls | None = None  # everyone is served: relying parties fetch the keys
    tokens: VerifierLimits = field(default_factory=VerifierLimits)
    endorsements: EndorsementSettings | None = None  # by itself, what nodes bring along has to do
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    ready: Path | None = None  # the port is written there when it is served
    log_level: LogLevel = "info"

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        require_for_everyone(self.address, self.tls)
        if not self.policies:
            raise UsageError("a verifier has one policy or more: name each and its file in [policies]")
