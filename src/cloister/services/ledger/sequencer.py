"""The one place where entries get their numbers: persist, sign, have a quorum cosign, persist that, answer.

Appends that wait together share one transaction and one checkpoint. An entry whose checkpoint no quorum cosigned stays
stored and unanswered; the next checkpoint includes it, and the same bytes sent again get the index they have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import structlog

from cloister.crypto.merkle import GrowingTree, consistency_path, inclusion_path, leaf_hash
from cloister.crypto.signing import SigningKey
from cloister.errors import CloisterError, Unavailable, UsageError
from cloister.formats.checkpoint import Checkpoint, SignedNote
from cloister.formats.constitution import Log
from cloister.formats.ledger_messages import Appended
from cloister.hosting.fault import place_of
from cloister.ledger.checkpoints import sign_checkpoint
from cloister.services.ledger.recovery import require_own_note
from cloister.storage.ledger_store import StoredCheckpoint, StoredLog

MAXIMUM_WAITING = 1024  # requests in the queue; more are told to come back
MAXIMUM_BATCH = 256  # requests that share a checkpoint
MAXIMUM_UNWITNESSED = 1024  # stored entries that no quorum cosigned


class Store(Protocol):
    """What is asked of the storage; each call is on disk when it returns."""

    async def load(self) -> StoredLog:
        """Everything that is stored."""

    async def append(self, entries: Sequence[bytes]) -> list[int]:
        """The indices of `entries`, each stored once."""

    async def publish(self, checkpoint: StoredCheckpoint) -> None:
        """Store a cosigned checkpoint."""

    async def entries(self, start: int, end: int, *, limit: int) -> list[bytes]:
        """A run of entries."""


class Cosigners(Protocol):
    """What is asked of the witnesses."""

    async def cosign(self, note: SignedNote, size: int, tree: GrowingTree) -> SignedNote:
        """The note with a quorum's cosignatures."""


@dataclass(slots=True)
class _Waiting:
    """A request in the queue: an entry to append, or none to have the checkpoint cosigned afresh."""

    entry: bytes | None
    answer: asyncio.Future[Appended]
    index: int = 0


class Sequencer:
    """One log, from `start` to `stop`. What it shows is what a quorum cosigned, never more."""

    def __init__(
        self,
        origin: str,
        key: SigningKey,
        store: Store,
        cosigners: Cosigners,
        *,
        maximum_unwitnessed: int = MAXIMUM_UNWITNESSED,
    ) -> None:
        """Beyond `maximum_unwitnessed` entries none is stored before the witnesses are back."""
        self.log = Log(origin=origin, key=key.public)
        self._key = key
        self._store = store
        self._cosigners = cosigners
        self._maximum_unwitnessed = maximum_unwitnessed
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(MAXIMUM_WAITING)
        self._tree = GrowingTree()
        self._cosigned: StoredCheckpoint | None = None
        self._certain = False  # whether the tree is what is on disk
        self._trouble = ""  # why nothing could be cosigned when last it was tried
        self._cosigned_at = 0.0  # by a monotonic clock
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the log back and begin to serve.

        Raises:
            CorruptStore: what is stored is not what was cosigned; nothing is served.
        """
        await self._recover()
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what waits is told to come back."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        while not self._queue.empty():
            _fail(self._queue.get_nowait(), Unavailable("the ledger is stopping"))

    @property
    def cosigned(self) -> StoredCheckpoint:
        """The latest checkpoint that a quorum cosigned.

        Raises:
            Unavailable: there is none yet.
        """
        if self._cosigned is None:
            raise Unavailable("no checkpoint was cosigned yet: POST /checkpoint asks the witnesses")
        return self._cosigned

    def missing(self) -> list[str]:
        """What lacks before an entry can be logged, in words."""
        if self._trouble:
            return [f"a checkpoint that counts: {self._trouble}"]
        return [] if self._cosigned is not None else ["a first checkpoint that witnesses cosigned"]

    def quiet_for(self) -> float:
        """Seconds since a quorum cosigned a checkpoint of this process."""
        return monotonic() - self._cosigned_at

    async def append(self, entry: bytes) -> Appended:
        """Number and store `entry`; returns when a quorum has cosigned a checkpoint that includes it.

        Raises:
            Unavailable: the disk or the witnesses failed, or too many wait. Send the same bytes again.
        """
        return await self._wait(entry)

    async def renew(self) -> bytes:
        """The latest checkpoint with cosignatures made after this call began."""
        return (await self._wait(None)).checkpoint

    async def entries(self, start: int, end: int, *, limit: int) -> list[bytes]:
        """Entries that count, from `start` to before `end`.

        Raises:
            UsageError: no such run under the latest checkpoint.
        """
        if not 0 <= start < end <= self.cosigned.size:
            raise UsageError(f"entries run from 0 to before {self.cosigned.size}")
        return await self._store.entries(start, end, limit=limit)

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The path of entry `index` in the tree of the first `size` entries."""
        if not 0 <= index < size <= self.cosigned.size:
            raise UsageError(f"an index is below a size, and that is at most {self.cosigned.size}")
        return inclusion_path(index, size, self._tree.subtree)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The path from the tree of the first `old` entries to that of the first `new`."""
        if not 0 < old <= new <= self.cosigned.size:
            raise UsageError(f"sizes go from 1 to {self.cosigned.size}, the older first")
        return consistency_path(old, new, self._tree.subtree)

    async def _wait(self, entry: bytes | None) -> Appended:
        if self._loop is None or self._loop.done():
            raise Unavailable("the ledger is not running")
        waiting = _Waiting(entry, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull as error:
            raise Unavailable(f"{MAXIMUM_WAITING} requests wait already") from error
        return await waiting.answer

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MAXIMUM_BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                await self._serve(batch)
            except CloisterError as error:
                structlog.get_logger().warning("a batch was not cosigned", requests=len(batch), reason=str(error))
                self._trouble = str(error)
                _fail_all(batch, error)
            except asyncio.CancelledError:
                _fail_all(batch, Unavailable("the ledger is stopping"))
                raise
            except Exception as error:  # noqa: BLE001 - the service's outermost loop: one fault must not end it
                structlog.get_logger().error("a batch failed by a fault of ours", fault=place_of(error))
                self._certain = False
                self._trouble = "a fault of the ledger; it was logged"
                _fail_all(batch, Unavailable(self._trouble))

    async def _serve(self, batch: list[_Waiting]) -> None:
        if not self._certain:
            await self._recover()
        if self._tree.size - self._size >= self._maximum_unwitnessed:
            await self._publish()
        appends = [waiting for waiting in batch if waiting.entry is not None]
        await self._persist(appends)
        for waiting in appends:
            if waiting.index < self._size:  # logged before: needs no witness
                self._answer(waiting)
        if any(not waiting.answer.done() for waiting in batch):
            await self._publish()
            for waiting in batch:
                self._answer(waiting)

    async def _persist(self, appends: list[_Waiting]) -> None:
        entries = [waiting.entry for waiting in appends if waiting.entry is not None]
        if not entries:
            return
        self._certain = False  # until the transaction is known to be on disk
        indices = await self._store.append(entries)
        for waiting, entry, index in zip(appends, entries, indices, strict=True):
            waiting.index = index
            if index == self._tree.size:
                self._tree.append(leaf_hash(entry))
        self._certain = True

    async def _publish(self) -> None:
        """Have all that is stored cosigned now, and store that."""
        size = self._tree.size
        checkpoint = Checkpoint(self.log.origin, size, self._tree.root(size))
        note = await self._cosigners.cosign(sign_checkpoint(checkpoint, self._key), size, self._tree)
        cosigned = StoredCheckpoint(size, checkpoint.root, note.encode())
        await self._store.publish(cosigned)
        self._cosigned, self._cosigned_at, self._trouble = cosigned, monotonic(), ""

    async def _recover(self) -> None:
        stored = await self._store.load()
        if stored.newest is not None:
            require_own_note(stored.newest, self.log)
        self._tree, self._cosigned = stored.tree, stored.newest
        self._certain = True

    @property
    def _size(self) -> int:
        return 0 if self._cosigned is None else self._cosigned.size

    def _answer(self, waiting: _Waiting) -> None:
        if waiting.answer.done():  # answered before, or its client has gone
            return
        cosigned = self.cosigned
        path = () if waiting.entry is None else self.inclusion(waiting.index, cosigned.size)
        waiting.answer.set_result(Appended(index=waiting.index, checkpoint=cosigned.note, path=path))


def _fail_all(batch: Sequence[_Waiting], error: CloisterError) -> None:
    for waiting in batch:
        _fail(waiting, error)


def _fail(waiting: _Waiting, error: CloisterError) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
