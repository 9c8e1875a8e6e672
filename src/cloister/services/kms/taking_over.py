"""Takes over the keys that this instance lacks from the others, and says which of them nobody gives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from cloister.contract.custody_records import RootRecord
from cloister.contract.state import EpochRecord
from cloister.errors import CloisterError
from cloister.services.kms.epochs import LostKeys
from cloister.services.kms.handover import Peer, ask, take
from cloister.services.kms.standing import Standing

LONGEST_PAUSE = 30  # seconds between two rounds in which nobody gave a key


class TakingOver:
    """Asks one instance after the other for what lacks here; after a round in vain, later each time."""

    def __init__(self, standing: Standing, peers: Sequence[Peer]) -> None:
        self._standing = standing
        self._peers = peers
        self.lost = LostKeys(standing.instance.security.pending_seconds // 8)
        self.in_vain = ""  # why the last round brought not all, in words
        self._rounds = 0  # in vain, in a row
        self._again_at = 0
        self._asked_for: frozenset[bytes] = frozenset()

    async def ask(self, lock: asyncio.Lock) -> None:
        """Have what lacks here, as far as it is given. The `lock` is held while something is taken in, not before.

        Nothing is raised: an instance that gives nothing is told of, and asked again.
        """
        standing = self._standing
        lacking, roots = standing.lacking(), standing.lacking_roots()
        if not (lacking or roots):
            self.in_vain, self._rounds = "", 0
            return
        digests = frozenset({record.placed.digest for record in lacking} | {record.placed.digest for record in roots})
        if standing.now() < self._again_at and digests <= self._asked_for:
            return
        reasons = [reason for peer in self._peers if (reason := await self._ask(peer, lock))]
        # What came into the log meanwhile was asked of nobody yet.
        still = [record for record in standing.lacking() if record.placed.digest in digests]
        roots = [record for record in standing.lacking_roots() if record.placed.digest in digests]
        self.lost.asked_in_vain(still, at=standing.now())
        self._note([*still, *roots], "; ".join(reasons) or "no other instance is known")

    async def _ask(self, peer: Peer, lock: asyncio.Lock) -> str:
        """Take what one instance gives; why it gave nothing, in words."""
        lacking, roots = self._standing.lacking(), self._standing.lacking_roots()
        if not (lacking or roots):
            return ""
        try:
            reply = await ask(self._standing, peer, lacking, roots)
            async with lock:
                taken = await take(self._standing, reply)
        except CloisterError as error:
            return str(error)
        self.lost.given()
        structlog.get_logger().info("keys were handed over", keys=taken)
        return ""

    def _note(self, lacking: Sequence[EpochRecord | RootRecord], reason: str) -> None:
        if not lacking:
            self.in_vain, self._rounds = "", 0
            return
        if self.in_vain != reason:
            structlog.get_logger().warning("no instance hands over a key", keys=len(lacking), reason=reason)
        self.in_vain, self._rounds = reason, self._rounds + 1
        self._asked_for = frozenset(record.placed.digest for record in lacking)
        self._again_at = self._standing.now() + min(2 ** min(self._rounds - 1, 8), LONGEST_PAUSE)
