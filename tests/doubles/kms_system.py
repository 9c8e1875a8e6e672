"""A KMS over a ledger in memory, with everything signed for real, and a node that asks it for a key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from cloister.crypto.signing import SigningKey
from cloister.endorsements.endorsing import Endorsing
from cloister.errors import Unavailable
from cloister.formats import canonical
from cloister.formats.appraisal_policy import RoleReference
from cloister.formats.constitution import Constitution
from cloister.formats.contract import Contract
from cloister.formats.evidence import Evidence, GpuEvidence, SecuritySettings
from cloister.formats.handover import HandoverReply, HandoverRequest, parse_handover_reply
from cloister.formats.key_bundle import KeyBundle, parse_key_bundle
from cloister.formats.release import ReleaseRequest
from cloister.formats.trust_policy import TrustPolicy
from cloister.hosting.loopback import LOOPBACK, listen, port_of
from cloister.hosting.serving import serve_until
from cloister.ledger.statements import sign_statement
from cloister.node.evidence import evidence
from cloister.node.keys import NodeSecrets
from cloister.secret import SecretBytes
from cloister.services.kms.handover import Peer
from cloister.services.kms.instance import Instance
from cloister.services.kms.kms import Kms
from cloister.services.kms.routes import routes
from cloister.services.kms.security import KmsSecurity
from cloister.services.kms.security import security_settings as kms_settings
from cloister.tee.collectors.collected import Collected
from cloister.tee.sealing import sealing_key
from cloister.testing import world
from cloister.testing.memory_ledger import MemoryLedger

SECURITY = KmsSecurity()


class WorldTee:
    """The software TEE of the test world: any measurement or platform key a test asks for."""

    platform = "software"
    workload = world.WORKLOAD

    def __init__(self, key: SigningKey, **changes: object) -> None:
        self._key = key
        self._changes = changes

    def collect(self, report_data: bytes, *, challenge: bytes) -> Collected:
        return Collected(world.signed_report(self._key, report_data, **self._changes))

    def gpus(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        return ()

    def sealing_key(self, context: bytes) -> SecretBytes | None:
        workload = self._changes.get("workload", self.workload)
        assert isinstance(workload, bytes)
        return sealing_key(self._key.seed, workload=workload, context=context)


class KmsSystem:
    """Ledger, constitution and contract of one local system; `clock` is moved by hand."""

    def __init__(self) -> None:
        self.now = world.NOON
        self.world = world.World()
        self.world.log.entries.clear()
        self.parties = self.world.parties
        self.signers = (self.parties.owner, self.parties.operator)
        self.tee = WorldTee(self.parties.platform)
        self.ledger = MemoryLedger(self.world.log, clock=lambda: self.now)
        digest = kms_settings(SECURITY, unsafe=("UnsafeAllowSoftwareTee",)).digest()
        reference = RoleReference(role="kms", workloads=(world.WORKLOAD,), settings=(digest,))
        self.constitution = self.world.make_constitution(kms=reference)
        self.genesis = sign_statement("constitution", self.constitution, self.signers)
        self.contract = self.world.make_contract(constitution=self.constitution.digest())
        self.contract_entry = self.sign_contract(self.contract)

    @property
    def line(self) -> bytes:
        """The contract's identity."""
        return self.contract.digest()

    def sign_contract(self, contract: Contract) -> bytes:
        return sign_statement("contract", contract, self.signers)

    def sign_constitution(self, constitution: Constitution) -> bytes:
        return sign_statement("constitution", constitution, self.signers)

    def kms(
        self,
        *,
        security: KmsSecurity = SECURITY,
        tee: WorldTee | None = None,
        endorsing: Endorsing | None = None,
        peers: Sequence[Peer] = (),
    ) -> Kms:
        """A fresh instance, not started; `peers` are the others that it knows."""
        instance = Instance(tee or self.tee, NodeSecrets.generate(), security)
        clock = lambda: self.now  # noqa: E731 - read each time
        return Kms(self.ledger, instance, genesis=self.genesis, clock=clock, endorsing=endorsing, peers=peers)

    async def started(self, *, peers: Sequence[Peer] = ()) -> Kms:
        """A fresh instance that serves the contract."""
        kms = self.kms(peers=peers)
        await kms.start([self.contract_entry])
        return kms

    def policy(self, **changes: object) -> TrustPolicy:
        """What a client of this system insists on."""
        usual = {"constitution": self.constitution.digest(), "contract": self.line}
        return self.world.policy(**(usual | changes))

    def bundle(self, kms: Kms) -> KeyBundle:
        """The bundle that the KMS serves for the contract."""
        published = kms.bundle(self.line)
        assert published is not None
        return parse_key_bundle(published.data)


class Link:
    """How one instance reaches another in this process; a test cuts it."""

    def __init__(self, kms: Kms | None = None) -> None:
        self.kms = kms
        self.cut = False

    async def challenge(self) -> bytes:
        return self._reached().challenge()

    async def handover(self, request: HandoverRequest) -> HandoverReply:
        return parse_handover_reply(await self._reached().handover(canonical.encode(request)))

    def _reached(self) -> Kms:
        if self.kms is None or self.cut:
            raise Unavailable("the other instance cannot be reached")
        return self.kms


class AskingNode:
    """A gateway that asks for a key; a test changes one thing about it."""

    def __init__(self, system: KmsSystem) -> None:
        self.system = system
        self.secrets = NodeSecrets.generate()
        self.tee = system.tee
        self.settings: SecuritySettings = world.security_settings("gateway")
        self.subject = system.contract.digest()
        self.contract = system.line
        self.key_id = 1

    def evidence(self, challenge: bytes) -> Evidence:
        return evidence(
            self.tee, challenge=challenge, settings=self.settings, subject=self.subject, keys=self.secrets.public
        )

    def request(self, challenge: bytes, **changes: object) -> bytes:
        """The request's bytes; `changes` are made to the evidence after the TEE reported."""
        shown = msgspec.structs.replace(self.evidence(challenge), **changes)
        request = ReleaseRequest(contract=self.contract, key_id=self.key_id, evidence=canonical.encode(shown))
        return canonical.encode(request)


@contextlib.asynccontextmanager
async def served(kms: Kms):
    """The URL of `kms` on the loopback interface."""
    listener = listen(LOOPBACK, 0)
    url, stop = f"http://{LOOPBACK}:{port_of(listener)}", asyncio.Event()
    task = asyncio.create_task(serve_until(routes(kms), listener, stop))
    try:
        yield url
    finally:
        stop.set()
        await task
