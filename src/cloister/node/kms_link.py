"""One KMS instance, spoken to by this node's identity once it has one.

Without one a node can take a challenge, fetch the bundle, ask for an identity, and another instance of the KMS can ask
for what it lacks: all that bears on that is in evidence and bundle. Keys and assets are asked for by identity alone.
"""

from __future__ import annotations

from collections.abc import Callable

from cloister.formats.custody_messages import AssetReply, AssetRequest
from cloister.formats.handover import HandoverReply, HandoverRequest
from cloister.formats.identity import IdentityReply, IdentityRequest
from cloister.formats.release import ReleaseReply, ReleaseRequest
from cloister.peers.kms import KmsClient


class KmsLink:
    """As `KmsClient`, over mutual TLS. The instance behind both addresses is one: a challenge of either will do."""

    def __init__(self, ordinary: KmsClient, named: KmsClient, *, is_named: Callable[[], bool]) -> None:
        """`named` speaks by this node's identity, which it has where `is_named`; `ordinary` is for all before that."""
        self._ordinary = ordinary
        self._named = named
        self._is_named = is_named

    async def challenge(self) -> bytes:
        """As `KmsClient.challenge`."""
        return await self._best.challenge()

    async def bundle(self, contract: bytes) -> bytes:
        """As `KmsClient.bundle`."""
        return await self._best.bundle(contract)

    async def identity(self, request: IdentityRequest) -> IdentityReply:
        """As `KmsClient.identity`: never by an identity, so that whoever has lost one asks in the same way."""
        return await self._ordinary.identity(request)

    async def handover(self, request: HandoverRequest) -> HandoverReply:
        """As `KmsClient.handover`."""
        return await self._best.handover(request)

    async def release(self, request: ReleaseRequest) -> ReleaseReply:
        """As `KmsClient.release`; `NoIdentity` where there is none."""
        return await self._named.release(request)

    async def release_assets(self, request: AssetRequest) -> AssetReply:
        """As `KmsClient.release_assets`; `NoIdentity` where there is none."""
        return await self._named.release_assets(request)

    @property
    def _best(self) -> KmsClient:
        return self._named if self._is_named() else self._ordinary
