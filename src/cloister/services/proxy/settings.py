"""The proxy's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloister.hosting.logs import LogLevel
from cloister.hosting.loopback import GRACE_SECONDS, LOOPBACK, Port, require_servable
from cloister.hosting.needed_file import NeededFile
from cloister.hosting.tls import ServerTls, require_private
from cloister.ohttp.privacy import STANDARD, Privacy


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What it trusts stands in the trust policy; these say where things are."""

    port: Port
    relay_url: str
    trust_policy: NeededFile  # TOML
    memory: Path  # made when missing
    token: NeededFile  # a file with the bearer token that callers must show, or a folder of such, named as its callers
    receipts: Path  # a folder, made when missing
    relay_ca: NeededFile | None = None  # PEM: who may sign the relay's certificate; without it this machine's own list
    privacy: Privacy = STANDARD  # strict: an answer's length and times tell next to nothing, and it takes longer
    address: str = LOOPBACK  # an IP address; callers of other machines need `tls`
    tls: ServerTls | None = None
    ready: Path | None = None  # the port is written there when it is served
    connections: int = 64
    grace_seconds: float = GRACE_SECONDS  # for requests in flight when it is told to stop
    log_level: LogLevel = "info"

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        require_servable(self.address, secure=self.tls is not None)
        require_private(self.relay_url)
