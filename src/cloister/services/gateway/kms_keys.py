"""Transport keys from the KMS, by attestation both ways: the KMS's bundle is examined first, then evidence is shown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import monotonic
from typing import Protocol

import msgspec
import structlog

from cloister.contract.task_assets import NO_ASSETS, VerifiedTaskAssets
from cloister.errors import CloisterError, MalformedInput, Refused, TooLarge
from cloister.formats import canonical
from cloister.formats.appraisal_policy import named_verifiers
from cloister.formats.contract import Contract
from cloister.formats.custody_messages import AssetReply, AssetRequest
from cloister.formats.evidence import Evidence, Role, SecuritySettings
from cloister.formats.key_bundle import KeyBundle, parse_key_bundle
from cloister.formats.release import ReleaseReply, ReleaseRequest
from cloister.formats.trust_policy import TrustPolicy
from cloister.node.evidence import Tee
from cloister.node.keys import NodeSecrets
from cloister.node.released_assets import AskingNode
from cloister.node.vouched_evidence import Voucher, shown_evidence
from cloister.node.witnessed_clock import WitnessedClock
from cloister.ohttp.encapsulation import UnknownKey
from cloister.peers.exchange import PeerRefused
from cloister.peers.failover import Failover, is_unavailable
from cloister.services.gateway.contract import ServedContract
from cloister.services.gateway.inside import Endpoints
from cloister.services.gateway.keys import GatewayKey, KeyWithheld
from cloister.services.gateway.security import under
from cloister.services.gateway.task_assets import TaskAssets
from cloister.trust.bundle import VerifiedBundle, examine_bundle
from cloister.trust.keys import TrustedEpoch
from cloister.trust.memory import first_contact
from cloister.trust.release_reply import AskedFor, VerifiedRelease, examine_reply

BUNDLE_SECONDS = 0.5  # a bundle is not asked for again before: unknown key ids are cheap to make up
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.2, 2.0


def _another_may_serve(_error: CloisterError) -> bool:
    """An instance may be behind the log, or not be this contract's KMS at all: another is examined for itself."""
    return True


def another_may_release(error: CloisterError) -> bool:
    """Whether another instance may have what this one has not: the key, or a place in the bundle that was examined."""
    here = isinstance(error, Refused) and error.check in ("release.epoch", "reply.signature")
    return here or is_unavailable(error)


async def _no_engine(given: VerifiedTaskAssets) -> None:
    if given != NO_ASSETS:
        raise KeyWithheld("the contract has assets for an engine, and none here takes any")


@dataclass(frozen=True, slots=True)
class GatewayNode:
    """This gateway, as it shows itself to the KMS."""

    tee: Tee
    secrets: NodeSecrets
    settings: SecuritySettings
    contract: ServedContract
    policy: TrustPolicy  # for the KMS's bundle
    voucher: Voucher | None = None  # whose word is shown; without one, raw evidence

    @property
    def line(self) -> bytes:
        """The digest of the first contract of its line."""
        return self.contract.line

    @property
    def role(self) -> Role:
        """In which it runs."""
        return "gateway"

    async def evidence(self, challenge: bytes) -> Evidence:
        """Fresh evidence under the contract, which answers `challenge`.

        Raises:
            As `node.vouched_evidence.shown_evidence`.
        """
        bound = {"challenge": challenge, "subject": self.contract.current.digest()}
        return await shown_evidence(self.tee, self.secrets, self.voucher, settings=self.settings, **bound)

    def under(self, contract: Contract) -> GatewayNode:
        """The same node under the contract of its line that is in force now: its keys stay, what it binds is new.

        It accepts no more exceptions of a KMS than the contract that it was started with, and none that this one does
        not: whoever writes the file cannot widen what the parties accept.
        """
        served, before = replace(self.contract, current=contract), self.policy
        verifiers = {one.name for one in named_verifiers(contract.appraisal)}
        policy = msgspec.structs.replace(
            before,
            unsafe=tuple(flag for flag in before.unsafe if flag in contract.appraisal.unsafe),
            verifiers=tuple(name for name in before.verifiers if name in verifiers),
        )
        return replace(self, contract=served, settings=under(self.settings, contract), policy=policy)

    def asking(self) -> AskingNode:
        """This gateway, as it asks for assets."""
        return AskingNode(self.tee, self.secrets, self.settings, self.contract.line, self.voucher)


class KmsInstance(Protocol):
    """What a gateway asks of one instance of the KMS; each raises as `KmsClient`."""

    async def challenge(self) -> bytes:
        """A fresh challenge, 32 bytes."""

    async def bundle(self, contract: bytes) -> bytes:
        """The key bundle of the contract line with this digest."""

    async def release(self, request: ReleaseRequest) -> ReleaseReply:
        """The logged release and the wrapped key."""

    async def release_assets(self, request: AssetRequest) -> AssetReply:
        """The logged use and what was deposited, wrapped."""


class KmsKeys:
    """The keys released to this process, in its memory only.

    Each is kept no longer than its stale window, and only while the newest examined bundle shows its epoch: one that
    was revoked is gone once a bundle tells so.
    """

    def __init__(
        self,
        kms: KmsInstance | Failover[KmsInstance],
        node: GatewayNode,
        *,
        clock: WitnessedClock,
        assets: TaskAssets | None = None,
    ) -> None:
        """`clock` hears here when the log was witnessed: share it with all that asks for the time.

        Several instances of a KMS are one KMS: whichever answers is examined like the others. `assets` hands an
        engine what the parties gave the task; without it, a contract that has sections is not served.
        """
        self._kms = kms if isinstance(kms, Failover) else Failover([kms])
        self._node = node
        self._clock = clock
        self._assets = assets or TaskAssets(_no_engine)
        self._memory = first_contact(node.policy.constitution)
        self._held: dict[bytes, GatewayKey] = {}  # by the digest of the epoch's entry
        self._bundle: VerifiedBundle | None = None
        self._examined_at = -BUNDLE_SECONDS
        self._lock = asyncio.Lock()
        self._trouble = "the KMS was not asked yet"

    @property
    def node(self) -> GatewayNode:
        """This gateway, under the contract in force as far as it has heard."""
        return self._node

    def held(self, key_id: int) -> GatewayKey | None:
        """The key of that id, if it was released and is still good."""
        self._forget_stale()
        return next((key for key in reversed(self._held.values()) if key.key_id == key_id), None)

    def all_held(self) -> tuple[GatewayKey, ...]:
        """Every key that was released and is still good."""
        self._forget_stale()
        return tuple(self._held.values())

    async def key_for(self, key_id: int) -> GatewayKey:
        """The key of that id among those that the KMS shows its clients.

        Raises:
            UnknownKey: there is none.
            KeyWithheld: a check failed, here or at the KMS.
            Unavailable: the KMS cannot be asked now.
        """
        async with self._lock:
            held = self.held(key_id)
            if held is not None:
                return held
            bundle = await self._current_bundle()
            for epoch in bundle.keys.epochs:
                if epoch.key_config.key_id == key_id and self._clock() < epoch.stale_until:
                    return await self._released_if_there(bundle, epoch)
        raise UnknownKey(f"this gateway has no key {key_id}")

    async def fetch_ahead(self) -> None:
        """Hold the active epoch's key, and the pending one's, before the first request needs it.

        Raises:
            KeyWithheld, Unavailable: as `key_for`.
        """
        async with self._lock:
            self._forget_stale()
            bundle = await self._current_bundle()
            for epoch in bundle.keys.epochs:
                if epoch.number >= bundle.keys.active.number and epoch.digest not in self._held:
                    await self._released(bundle, epoch)

    async def keep_fetching(self, *, seconds: float) -> None:
        """Fetch ahead every few `seconds`, sooner while something is wrong, until cancelled."""
        wait = FIRST_RETRY_SECONDS
        while True:
            try:
                await self.fetch_ahead()
            except CloisterError as error:
                if self._trouble != str(error):
                    structlog.get_logger().warning("no key from the KMS", reason=str(error))
                self._trouble = str(error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LAST_RETRY_SECONDS)
            else:
                self._trouble = ""
                await asyncio.sleep(seconds)
                wait = FIRST_RETRY_SECONDS

    async def bundle(self) -> VerifiedBundle:
        """The KMS's bundle, as it is now; raises as `fetch_ahead`."""
        async with self._lock:
            return await self._current_bundle()

    def missing(self) -> list[str]:
        """What lacks before requests can be opened, in words."""
        active = None if self._bundle is None else self._held.get(self._bundle.keys.active.digest)
        if active is not None and self._clock() < active.open_until:
            return []
        return [f"a transport key: {self._trouble or 'it is being fetched'}"]

    async def _current_bundle(self) -> VerifiedBundle:
        """The KMS's bundle, examined as a client would: only then is it this contract's KMS that is talked to."""
        if self._bundle is not None and monotonic() - self._examined_at < BUNDLE_SECONDS:
            return self._bundle
        try:
            bundle = await self._kms.ask(self._bundle_of, passes_on=_another_may_serve)
        except (Refused, PeerRefused, MalformedInput, TooLarge) as error:
            raise KeyWithheld(str(error)) from error
        if bundle.contract != self._node.contract.current:
            bundle = self._under(bundle)
        self._bundle, self._memory, self._examined_at = bundle, bundle.memory, monotonic()
        # Another epoch may have begun before this one's end: what is stale earlier is forgotten earlier.
        until = {epoch.digest: epoch.stale_until for epoch in bundle.keys.epochs}
        self._held = {
            digest: replace(key, open_until=until[digest]) for digest, key in self._held.items() if digest in until
        }
        return bundle

    def _under(self, bundle: VerifiedBundle) -> VerifiedBundle:
        """Go on under the contract of `bundle`, without a key of the one of before; examined as its parties want it.

        Raises:
            KeyWithheld: they accept less of a KMS than the contract did that this gateway was started with.
        """
        structlog.get_logger().info("another contract is in force", sequence=bundle.contract.sequence)
        self._node, self._held = self._node.under(bundle.contract), {}
        try:
            return self._examined(bundle.bundle)
        except Refused as error:
            raise KeyWithheld(str(error)) from error

    async def _bundle_of(self, instance: KmsInstance) -> VerifiedBundle:
        return self._examined(parse_key_bundle(await instance.bundle(self._node.contract.line)))

    def _examined(self, data: KeyBundle) -> VerifiedBundle:
        """Examine at the witnessed time; what the bundle tells of that is heard.

        Raises:
            BundleRefused: names the check.
        """
        bundle = examine_bundle(data, self._node.policy, self._memory, at=int(self._clock())).require()
        self._clock.hear(bundle.checkpoint.cosigned_at)
        return bundle

    async def _released_if_there(self, bundle: VerifiedBundle, epoch: TrustedEpoch) -> GatewayKey:
        """An epoch's key; one before the active that no instance has any more is unknown, and its client told so."""
        try:
            return await self._released(bundle, epoch)
        except KeyWithheld as withheld:
            refusal = withheld.__cause__
            lost = isinstance(refusal, Refused) and refusal.check == "release.epoch"
            if lost and epoch.number < bundle.keys.active.number:
                raise UnknownKey(f"the key of epoch {epoch.number} is gone") from withheld
            raise

    async def _released(self, bundle: VerifiedBundle, epoch: TrustedEpoch) -> GatewayKey:
        await self._assets.follow(self._kms, self._node.asking(), bundle)
        try:
            released = await self._kms.ask(
                lambda instance: self._release_of(instance, bundle, epoch), passes_on=another_may_release
            )
            self._clock.hear(released.cosigned_at)
            self._examined(bundle.bundle)  # again: the release may show that this bundle is an old one
        except (Refused, PeerRefused) as error:
            raise KeyWithheld(str(error)) from error
        contract = self._node.contract.current
        key = GatewayKey(
            epoch.key_config.key_id,
            released.private,
            epoch.digest,
            epoch.stale_until,
            contract.digest(),
            Endpoints(contract.serving.endpoints),
        )
        self._held[epoch.digest] = key
        return key

    async def _release_of(self, instance: KmsInstance, bundle: VerifiedBundle, epoch: TrustedEpoch) -> VerifiedRelease:
        """Evidence answers a challenge at the instance that gave it, and nowhere else."""
        node = self._node
        challenge = await instance.challenge()
        shown = await node.evidence(challenge)
        request = ReleaseRequest(
            contract=node.contract.line, key_id=epoch.key_config.key_id, evidence=canonical.encode(shown)
        )
        reply = await instance.release(request)
        return examine_reply(reply, AskedFor(epoch, node.secrets.public, node.secrets.wrap), bundle).require()

    def _forget_stale(self) -> None:
        now = self._clock()
        self._held = {digest: key for digest, key in self._held.items() if now < key.open_until}
