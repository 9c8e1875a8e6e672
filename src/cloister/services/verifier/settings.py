"""A verifier's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from cloister.endorsements.amd_kds import KDS_URL
from cloister.endorsements.fetchers import VendorUrls
from cloister.endorsements.intel_pcs import PCS_URL, ROOT_LIST_URL
from cloister.endorsements.nvidia_services import OCSP_URL, RIM_URL
from cloister.formats.attestation_result import MAXIMUM_LIFETIME
from cloister.formats.canonical import Name
from cloister.hosting.loopback import LOOPBACK
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.tls import ServerTls

Issuer = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^https?://[!-~]+[^/]$")]


class VerifierLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[tokens]` table: how long things live."""

    challenge_seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = 60
    challenges: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 16_384  # that may be open at once
    token_seconds: Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_LIFETIME)] = MAXIMUM_LIFETIME
    key_seconds: Annotated[int, msgspec.Meta(ge=3600, le=366 * 86_400)] = 30 * 86_400  # a key signs for this long


class EndorsementSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[endorsements]` table: where vendors' word on their hardware is kept, and whether they are asked for it."""

    folder: Path | None = None  # as `cloister endorsements` has it; by itself, one in the verifier's own folder
    fetch: bool = False  # whether vendors' services are asked for what a node did not bring and the folder lacks
    amd_kds_url: str = KDS_URL  # these may be mirrors
    intel_pcs_url: str = PCS_URL  # or a PCCS
    intel_root_list_url: str = ROOT_LIST_URL
    nvidia_rim_url: str = RIM_URL
    nvidia_ocsp_url: str = OCSP_URL

    def urls(self) -> VendorUrls:
        """Where to ask."""
        return VendorUrls(
            self.amd_kds_url, self.intel_pcs_url, self.intel_root_list_url, self.nvidia_rim_url, self.nvidia_ocsp_url
        )


@dataclass(frozen=True, slots=True)
class VerifierSettings:
    """Relying parties know a verifier by its issuer's name and keys."""

    port: int
    issuer: Issuer  # the URL under which relying parties reach it: the `iss` of its tokens
    folder: Path  # its signing keys are made in it
    policies: dict[Name, Path]  # by name; each a file of a verifier's policy
    address: str = LOOPBACK  # an IP address; another machine's callers need `tls`
    tls: ServerTls | None = None  # everyone is served: relying parties fetch the keys
    tokens: VerifierLimits = field(default_factory=VerifierLimits)
    endorsements: EndorsementSettings = field(default_factory=EndorsementSettings)
    # fewer at a time than other services: evidence with its endorsements has up to 8 MiB
    limits: ServiceLimits = field(default_factory=lambda: ServiceLimits(requests=32))
    ready: Path | None = None  # the port is written there when it is served
    log_level: str = "info"
