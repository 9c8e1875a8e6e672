"""A witness's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cloister.hosting.database_settings import DatabaseSettings
from cloister.hosting.listening import require_for_services
from cloister.hosting.logs import LogLevel
from cloister.hosting.loopback import LOOPBACK, Port
from cloister.hosting.needed_file import NeededFile
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.tls import ServerTls


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """None bears on security beyond the key: constitutions name a witness by its name and key."""

    port: Port
    folder: Path  # witness.sqlite is made in it
    name: str  # its key name, as constitutions have it
    key: NeededFile  # the witness key: 32 bytes, mode 0600; never one of another witness or log
    logs: tuple[str, ...]  # verifier keys of the logs it watches, as C2SP signed-note writes them (type 01)
    ml_dsa_key: NeededFile | None = None  # an ML-DSA-44 key beside it: 32 bytes of seed, mode 0600
    address: str = LOOPBACK  # an IP address; another machine's callers need `tls`
    tls: ServerTls | None = None
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)  # SQLite in the folder, or a server
    ready: Path | None = None  # the port is written there when it is served
    log_level: LogLevel = "info"

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        require_for_services(self.address, self.tls)
