"""The transport keys of a gateway by id. The source alone keeps them, so that what it drops opens nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cloister.crypto.hpke import KemPrivateKey
from cloister.errors import Unavailable
from cloister.ohttp.encapsulation import UnknownKey
from cloister.services.gateway.inside import Endpoints

MISS_SECONDS = 5.0  # an unknown id is not asked for again before


@dataclass(frozen=True, slots=True)
class GatewayKey:
    """One epoch's transport key, as released to this gateway, and what the epoch's contract lets its clients ask."""

    key_id: int  # 0 to 255
    private: KemPrivateKey
    epoch: bytes  # SHA-256 of the epoch's entry, 32 bytes
    open_until: int  # seconds since 1970; then it is forgotten
    contract: bytes  # digest of the one that the epoch is of
    endpoints: Endpoints  # that it names


class KeyWithheld(Unavailable):
    """The KMS gives this gateway no key, or is not one that this gateway may ask; the sentence names the check."""


class KeySource(Protocol):
    """Where keys come from and are kept: the KMS, by attestation."""

    def held(self, key_id: int) -> GatewayKey | None:
        """The key of that id if it is here and may be used now; nothing is waited for."""

    async def key_for(self, key_id: int) -> GatewayKey:
        """The key of that id.

        Raises:
            UnknownKey: there is none that this gateway may have.
            Unavailable: that cannot be told now.
        """


class KeyRing:
    """Callers that miss the same key wait for one release together; an unknown id is not asked for at every request."""

    def __init__(self, source: KeySource, *, now: Callable[[], float]) -> None:
        """`now` is seconds since 1970."""
        self._source = source
        self._now = now
        self._misses: dict[int, float] = {}  # until when
        self._fetches: dict[int, asyncio.Task[GatewayKey]] = {}

    def held(self, key_id: int) -> GatewayKey | None:
        """The key of that id if it is here and good; nothing is waited for."""
        key = self._source.held(key_id)
        return key if key is not None and self._now() < key.open_until else None

    async def key_for(self, key_id: int) -> GatewayKey:
        """The key of that id, released when first met.

        Raises:
            UnknownKey: there is none, its epoch was revoked, or its stale window has ended.
            Unavailable: the KMS cannot be asked now.
        """
        key = self.held(key_id)
        if key is not None:
            self._misses.pop(key_id, None)
            return key
        if self._now() < self._misses.get(key_id, 0):
            raise UnknownKey(f"this gateway has no key {key_id}")
        fetch = self._fetches.get(key_id)
        if fetch is None:
            fetch = self._fetches[key_id] = asyncio.create_task(self._fetch(key_id))
            fetch.add_done_callback(lambda done: self._fetched(key_id, done))
        return await asyncio.shield(fetch)  # a caller that leaves does not end it for the others

    async def _fetch(self, key_id: int) -> GatewayKey:
        key = await self._source.key_for(key_id)
        if key.key_id != key_id or self._now() >= key.open_until:
            raise UnknownKey(f"this gateway has no key {key_id} any more")
        return key

    def _fetched(self, key_id: int, done: asyncio.Task[GatewayKey]) -> None:
        del self._fetches[key_id]
        error = None if done.cancelled() else done.exception()
        if isinstance(error, UnknownKey):
            self._misses[key_id] = self._now() + MISS_SECONDS
