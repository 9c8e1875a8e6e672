"""The KMS's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cloister.endorsements.endorsing import EndorsementSettings
from cloister.errors import UsageError
from cloister.hosting.listening import require_for_services
from cloister.hosting.logs import LogLevel
from cloister.hosting.loopback import LOOPBACK, Port
from cloister.hosting.needed_file import NeededFile
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.tls import PeerTls, ServerTls, require_known
from cloister.node.device import Platform, TeeSettings
from cloister.services.kms.security import KmsSecurity


class MutualTls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[mutual_tls]` table of a KMS: another port, where nodes and instances are known by their identities."""

    port: Port
    address: str = LOOPBACK  # an IP address
    replicas: tuple[str, ...] = ()  # the same instances as `replicas`, in their order: their URLs of this kind

    def __post_init__(self) -> None:
        """Refuse a URL that an identity cannot be shown to."""
        if any(not url.startswith("https://") for url in self.replicas):
            raise ValueError("replicas are spoken to by identity: write https://")


@dataclass(frozen=True, slots=True)
class KmsSettings:
    """What bears on security is in `security`, and so in the evidence; the rest says where things are."""

    port: Port
    ledger_urls: tuple[str, ...]  # of its front ends: http://127.0.0.1:port or https://host:port
    constitution: NeededFile  # signed entries, the genesis first; what the log lacks of them is logged at the start
    platform: Platform = "software"  # auto: whatever TEE this machine is
    platform_key: NeededFile | None = None  # of the software TEE: 32 bytes, an Ed25519 seed
    endorsements: EndorsementSettings | None = None  # without them, evidence has to carry all that it needs
    contracts: tuple[NeededFile, ...] = ()  # signed entries, each one contract with its successors; logged likewise
    sealed_roots: Path | None = None  # a folder for root secrets, sealed to the platform; without it, in memory only
    replicas: tuple[str, ...] = ()  # URLs of the other instances, which keys are taken over from
    address: str = LOOPBACK  # an IP address; another machine's callers need `tls`
    tls: ServerTls | None = None
    mutual_tls: MutualTls | None = None  # where it is, nodes ask for keys and assets there and nowhere else
    peers: PeerTls | None = None  # for a ledger and replicas on other machines
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    ready: Path | None = None  # the port is written there when it is served
    follow_seconds: float = 1.0  # between looks at the log
    log_level: LogLevel = "info"
    security: KmsSecurity = field(default_factory=KmsSecurity)

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        require_for_services(self.address, self.tls)
        for url in (*self.ledger_urls, *self.replicas):
            require_known(url, self.peers)
        if self.mutual_tls is not None and len(self.mutual_tls.replicas) != len(self.replicas):
            raise UsageError("mutual_tls.replicas names the same instances as replicas, in the same order")
        self.tee()

    def tee(self) -> TeeSettings:
        """What they say of the TEE.

        Raises:
            UsageError: it does not fit.
        """
        return TeeSettings(self.platform, self.platform_key)
