"""A node for programs of others: what its settings say, what its evidence binds, and how it shows itself to the KMS.

The role is `service`: contracts name its code and settings, it gets an identity, and neither keys nor assets.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

from cloister.crypto.hpke import X_WING
from cloister.formats.appraisal_policy import named_verifiers
from cloister.formats.contract import Contract
from cloister.formats.evidence import Evidence, Role, SecuritySettings, Unsafe
from cloister.formats.trust_policy import TrustPolicy
from cloister.hosting.logs import LogLevel
from cloister.hosting.needed_file import NeededFile
from cloister.hosting.tls import PeerTls, require_known
from cloister.node.device import Platform, TeeSettings
from cloister.node.evidence import Tee, evidence
from cloister.node.keys import NodeSecrets

Duration = Annotated[int, msgspec.Meta(ge=1, le=86_400)]
NodeException = Literal["UnsafeKeysOnDisk"]


class NodeSecurity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The `[security]` table of a node. Changing one makes another node: its contract must name it."""

    maximum_state_age_seconds: Duration = 600  # of a KMS's bundle that is acted on
    maximum_clock_skew_seconds: Duration = 60  # to the witnesses' clocks
    exceptions: tuple[NodeException, ...] = ()  # UnsafeKeysOnDisk: its key may come onto a disk


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What bears on security is in `security`, and so in the evidence; the rest says where things are."""

    kms_urls: tuple[str, ...]  # of its instances: http://127.0.0.1:port or https://host:port
    contract: NeededFile  # signed entries, first to current
    platform: Platform = "software"  # auto: whatever TEE this machine is
    platform_key: NeededFile | None = None  # of the software TEE: 32 bytes, an Ed25519 seed
    gpus: bool = False  # whether evidence shows this machine's GPUs, as the contract's appraisal policy may want
    peers: PeerTls | None = None  # for a KMS on another machine
    log_level: LogLevel = "info"
    security: NodeSecurity = field(default_factory=NodeSecurity)

    def __post_init__(self) -> None:
        """Refuse settings that do not fit each other.

        Raises:
            UsageError: they do not.
        """
        for url in self.kms_urls:
            require_known(url, self.peers)
        self.tee()

    def tee(self) -> TeeSettings:
        """What they say of the TEE.

        Raises:
            UsageError: it does not fit.
        """
        return TeeSettings(self.platform, self.platform_key, self.gpus)


def node_security(security: NodeSecurity, *, unsafe: tuple[Unsafe, ...]) -> SecuritySettings:
    """What a node with these settings binds; `unsafe` are its contract's exceptions."""
    values = msgspec.structs.asdict(security) | {"exceptions": " ".join(security.exceptions)}
    return SecuritySettings(role="service", unsafe=unsafe, values=values)


@dataclass(frozen=True, slots=True)
class ServiceNode:
    """This node, as it shows itself to the KMS."""

    tee: Tee
    secrets: NodeSecrets
    line: bytes  # the digest of the first contract of its line
    contract: Contract  # the one in force
    security: NodeSecurity

    @property
    def role(self) -> Role:
        """In which it runs."""
        return "service"

    @property
    def policy(self) -> TrustPolicy:
        """What it insists on before it shows a KMS its evidence: the parties' choices, and no others."""
        return TrustPolicy(
            constitution=self.contract.constitution,
            contract=self.line,
            unsafe=self.contract.appraisal.unsafe,
            kems=(X_WING,),
            maximum_state_age_seconds=self.security.maximum_state_age_seconds,
            maximum_clock_skew_seconds=self.security.maximum_clock_skew_seconds,
            verifiers=tuple(one.name for one in named_verifiers(self.contract.appraisal)),
        )

    async def evidence(self, challenge: bytes) -> Evidence:
        """Fresh evidence under the contract, which answers `challenge`; raises as `node.evidence.evidence`."""
        return await asyncio.to_thread(  # of a GPU it takes a second
            evidence,
            self.tee,
            challenge=challenge,
            settings=node_security(self.security, unsafe=self.contract.appraisal.unsafe),
            subject=self.contract.digest(),
            keys=self.secrets.public,
        )
