"""The ledger's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cloister.hosting.database_settings import DatabaseSettings, Seconds
from cloister.hosting.listening import require_for_services
from cloister.hosting.logs import LogLevel
from cloister.hosting.loopback import LOOPBACK, Port
from cloister.hosting.needed_file import NeededFile
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.tls import PeerTls, ServerTls, require_known


class WitnessAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A witness to ask: its verifier key as C2SP signed-note writes it (type 04), and its submission prefix."""

    vkey: str
    url: str
    ml_dsa_vkey: str = ""  # of its ML-DSA-44 key (type 06), where it is named by one too


class ScittIssuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose COSE statements are registered, too: the issuer as they name it, and a key that signs them."""

    issuer: str
    key: NeededFile  # PEM: Ed25519, P-256 or P-384


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """None bears on security: whoever reads the log takes its key, witnesses and quorum from a constitution."""

    port: Port
    folder: Path  # ledger.sqlite and blobs/ are made in it
    origin: str  # the log's name in its checkpoints
    key: NeededFile  # the log key: 32 bytes, mode 0600
    witnesses: tuple[WitnessAddress, ...]
    quorum: int  # cosignatures before an append is answered
    scitt: tuple[ScittIssuer, ...] = ()  # one for each key; none: only our own statements are logged
    address: str = LOOPBACK  # an IP address; another machine's callers need `tls`
    tls: ServerTls | None = None
    peers: PeerTls | None = None  # for witnesses on other machines
    writers: tuple[str, ...] = ()  # of the names that `tls.clients` lets call, those that may write
    write_bytes_per_second: int = 1024 * 1024  # of entries and blobs, of all writers together; 64 MiB at once
    renew_seconds: float = 30  # a checkpoint is cosigned at least this often, so that failing witnesses are noticed
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)  # SQLite in the folder, or a server
    url: str = ""  # where other front ends on the same database reach this one, if not at `address` and `port`
    lease_seconds: Seconds = 3  # without a word of the front end that leads, before another takes over
    ready: Path | None = None  # the port is written there when it is served
    witness_seconds: float = 5
    blobs_bytes: int = 4 * 1024 * 1024 * 1024  # all blobs together
    log_level: LogLevel = "info"

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        require_for_services(self.address, self.tls)
        for witness in self.witnesses:
            require_known(witness.url, self.peers)
