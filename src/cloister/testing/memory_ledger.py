"""A ledger in memory with the calls of a real one: what a KMS or an auditor's code can be tried against, no sockets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloister.errors import Unavailable
from cloister.peers.exchange import PeerRefused
from cloister.testing.memory_log import MemoryLog


@dataclass(frozen=True, slots=True)
class MemoryAppended:
    """Where an entry stands, under a cosigned checkpoint."""

    index: int
    checkpoint: bytes
    path: tuple[bytes, ...]


class MemoryLedger:
    """Over a `MemoryLog`: the same bytes get the same index, every checkpoint is cosigned at the time of `clock`."""

    def __init__(self, log: MemoryLog, *, clock: Callable[[], int]) -> None:
        self.log = log
        self.blobs: dict[bytes, bytes] = {}
        self.down = False  # set it, and every call is `Unavailable`
        self._clock = clock

    async def append(self, entry: bytes) -> MemoryAppended:
        """Log `entry`."""
        self._require_up()
        known = entry in self.log.entries
        index = self.log.entries.index(entry) if known else self.log.append(entry)
        logged = self.log.logged([index])[0]
        return MemoryAppended(index, self.log.checkpoint(at=self._clock()), logged.path)

    async def entries(self, start: int, end: int) -> Sequence[bytes]:
        """Entries `start` to `end` (excluded)."""
        self._require_up()
        return self.log.entries[start:end]

    async def checkpoint(self) -> bytes:
        """The note over all entries."""
        self._require_up()
        return self.log.checkpoint(at=self._clock())

    async def renew_checkpoint(self) -> bytes:
        """The note over all entries, cosigned now."""
        return await self.checkpoint()

    async def put_blob(self, data: bytes) -> bytes:
        """Keep `data`; its SHA-256."""
        self._require_up()
        digest = hashlib.sha256(data).digest()
        self.blobs[digest] = data
        return digest

    async def get_blob(self, digest: bytes) -> bytes:
        """The blob of this SHA-256.

        Raises:
            PeerRefused: there is none.
        """
        self._require_up()
        if digest not in self.blobs:
            raise PeerRefused("the ledger refused: no such blob", answer=404)
        return self.blobs[digest]

    def _require_up(self) -> None:
        if self.down:
            raise Unavailable("the ledger is down")
