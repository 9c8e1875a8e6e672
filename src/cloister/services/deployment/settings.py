"""A deployment API's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from cloister.errors import UsageError
from cloister.formats.canonical import Name
from cloister.formats.node_manifest import ROLES, Role
from cloister.hosting.listening import require_for_services
from cloister.hosting.logs import LogLevel
from cloister.hosting.loopback import LOOPBACK, Port
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.tls import PeerTls, ServerTls

OperatorKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


@dataclass(frozen=True, slots=True)
class DeploymentSettings:
    """Whose manifests are taken, and how far they reach on this machine."""

    port: Port
    folder: Path  # what it remembers, and settings and logs of the nodes; nobody else's
    deployment: Name  # whose manifests it takes
    machine: Name  # which of their nodes are this machine's
    operators: tuple[OperatorKey, ...]  # public keys (Ed25519, hexadecimal digits), any one of which signs a manifest
    folders: tuple[Path, ...]  # where paths in nodes' settings may lead
    roles: tuple[Role, ...] = ROLES  # that it may run
    first: Annotated[int, msgspec.Meta(ge=1, le=2**53)] = 1  # on a machine without any: no older revision is taken
    address: str = LOOPBACK  # an IP address; another machine's callers need `tls`
    tls: ServerTls | None = None
    peers: PeerTls | None = None  # how nodes that speak TLS are known, and what is shown to them
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    ready: Path | None = None  # the port is written there when it is served
    log_level: LogLevel = "info"

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        require_for_services(self.address, self.tls)
        if not self.operators:
            raise UsageError("operators names one public key or more: nobody's manifests would be taken")
        relative = [path for path in (self.folder, *self.folders) if not path.is_absolute()]
        if relative:
            raise UsageError(f"{relative[0]} is not absolute: folder and folders begin with /")
