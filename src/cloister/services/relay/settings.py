"""The relay's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloister.hosting.listening import require_for_everyone
from cloister.hosting.logs import LogLevel
from cloister.hosting.loopback import GRACE_SECONDS, LOOPBACK, Port
from cloister.hosting.tls import PeerTls, ServerTls, require_known


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """None bears on security: a relay is trusted only not to talk with the gateways about who asked."""

    port: Port
    bundle_urls: tuple[str, ...]  # of the KMS's instances: http://127.0.0.1:port/path or https://host:port/path
    gateway_urls: tuple[str, ...]  # likewise; asked in turn
    ready: Path | None = None  # the port is written there when it is served
    address: str = LOOPBACK  # an IP address; clients on other machines need `tls`
    shared_port: bool = False  # with other relay processes, one a core, that say so too
    tls: ServerTls | None = None
    peers: PeerTls | None = None  # for a KMS and gateways on other machines
    log_level: LogLevel = "info"
    grace_seconds: float = GRACE_SECONDS  # for requests under way when it is told to stop
    admin_port: Port | None = None  # of 127.0.0.1, where health and metrics are told; nowhere without it
    # all clients together
    connections: int = 1024  # of clients at a time
    requests: int = 1024  # under way at a time
    # each client, an address or an IPv6 /64
    client_rate: float = 100  # requests a second, in the long run
    client_burst: int = 1000  # requests at once, after a pause
    client_requests: int = 128  # under way at a time
    client_connections: int = 256
    trusted_proxies: tuple[str, ...] = ()  # networks of front ends whose X-Forwarded-For names the client
    # each request
    request_bytes: int = 32 * 1024 * 1024
    idle_seconds: float = 75  # between requests
    head_seconds: float = 10  # from a head's first byte to its last
    body_seconds: float = 600  # from a head to the whole request
    minimum_rate: int = 1024  # bytes a second, of a request that is sent or an answer that is taken
    rate_seconds: float = 20  # over which that is looked at
    # upstream
    gateway_connections: int = 256  # to each gateway at a time
    gateway_seconds: float = 700  # for an answer, from when its request was whole; more than a gateway takes (630)
    bundle_seconds: float = 10  # for one fetch from the KMS
    bundle_bytes: int = 8 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        require_for_everyone(self.address, self.tls)
        for url in (*self.bundle_urls, *self.gateway_urls):
            require_known(url, self.peers)
