"""The gateway's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cloister.errors import UsageError
from cloister.formats.canonical import Name
from cloister.formats.contract_verifier import Audience
from cloister.hosting.listening import require_for_services
from cloister.hosting.logs import LogLevel
from cloister.hosting.loopback import GRACE_SECONDS, LOOPBACK, Port
from cloister.hosting.needed_file import NeededFile
from cloister.hosting.tls import PeerTls, ServerTls, require_known
from cloister.node.device import Platform, TeeSettings
from cloister.sandbox.devices import Devices
from cloister.sandbox.plan import Choice
from cloister.services.gateway.engine_choice import EngineName, SandboxSizes, require_engine
from cloister.services.gateway.security import GatewaySecurity


class VerifierUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[verifier]` table: whose word this gateway shows in place of raw evidence, where the contract takes it."""

    name: Name  # in the contract
    url: str  # http://127.0.0.1:port or https://host:port
    policy: Name  # by which it judges, by its own name of it
    audience: Audience  # that the contract wants of its tokens


class MutualTls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[mutual_tls]` table of a gateway: it asks the KMS for keys by its identity."""

    kms_urls: tuple[str, ...]  # the same instances as `kms_urls`, in their order, at the ports of their [mutual_tls]

    def __post_init__(self) -> None:
        """Refuse a URL that an identity cannot be shown to."""
        if any(not url.startswith("https://") for url in self.kms_urls):
            raise ValueError("a KMS is spoken to by identity: write https://")


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What bears on security is in `security`, and so in the evidence; the rest says where things are."""

    port: Port
    kms_urls: tuple[str, ...]  # of its instances: http://127.0.0.1:port or https://host:port
    contract: NeededFile  # signed entries, first to current
    state: Path  # engines are staged below it, or where root's sandbox user can get to
    run_folder: Path  # for the engine's socket; made if missing, ours alone
    stage_folder: Path | None = None  # for engines in place of that; on hardware only memory, the default, or dm-verity
    platform: Platform = "software"  # auto: whatever TEE this machine is
    platform_key: NeededFile | None = None  # of the software TEE: 32 bytes, an Ed25519 seed
    gpus: bool = False  # whether evidence shows this machine's GPUs, as the contract's appraisal policy may want
    engine: EngineName = "speech"  # or whisper, transformers, echo; or the folder of an upstream server
    model: Path | None = None  # a sealed artifact; its key comes by its owner's grant
    sandbox: Choice = "auto"  # what confines it: bwrap or gvisor, the first that can be had; landlock only by name
    devices: Devices = "none"  # nvidia: the engine gets this machine's GPUs; untested, none was there
    sizes: SandboxSizes = field(default_factory=SandboxSizes)
    workers: int = 1  # sandboxes, each serves as many requests at a time as there are processors
    gateway_workers: int = 1  # processes that serve clients; at more than one they are apart from this one
    waiting_requests: int = 64  # for an engine; one more is told to come again
    waiting_seconds: float = 30.0  # that a request waits for an engine
    address: str = LOOPBACK  # an IP address; another machine's callers need `tls`
    tls: ServerTls | None = None
    mutual_tls: MutualTls | None = None
    peers: PeerTls | None = None  # for a KMS, or a verifier, on another machine
    ready: Path | None = None  # the port is written there when it is served
    verifier: VerifierUse | None = None  # without one, raw evidence is shown
    fetch_seconds: float = 10.0  # between looks for a new key
    grace_seconds: float = GRACE_SECONDS  # for requests in flight when it is told to stop
    log_level: LogLevel = "info"
    security: GatewaySecurity = field(default_factory=GatewaySecurity)

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        require_engine(self.engine, self.model)
        require_for_services(self.address, self.tls)
        for url in self.kms_urls:
            require_known(url, self.peers)
        if self.mutual_tls is not None and len(self.mutual_tls.kms_urls) != len(self.kms_urls):
            raise UsageError("mutual_tls.kms_urls names the same instances as kms_urls, in the same order")
        if self.verifier is not None:
            require_known(self.verifier.url, self.peers)
        self.tee()

    def tee(self) -> TeeSettings:
        """What they say of the TEE.

        Raises:
            UsageError: it does not fit.
        """
        return TeeSettings(self.platform, self.platform_key, gpus=self.gpus)
