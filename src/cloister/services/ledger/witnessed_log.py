"""A log on disk, its tree in memory, and what a quorum of witnesses cosigned of it, which is all that is shown.

Where this process alone shows the log, what it answers waits for the entries to be on disk and for the witnesses, and
not for the cosigned checkpoint to be on disk as well: that is stored behind the answer (decision 0045). A start that
finds entries beyond the last checkpoint shows nothing until they are cosigned: somebody may have been shown them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import ClassVar, Protocol

from cloister.crypto.merkle import GrowingTree, consistency_path, inclusion_path, inclusion_paths, leaf_hash
from cloister.crypto.signing import SigningKey
from cloister.errors import CloisterError, Unavailable, UsageError
from cloister.formats.checkpoint import Checkpoint, SignedNote, parse_note
from cloister.formats.constitution import Log
from cloister.ledger.checkpoints import sign_checkpoint
from cloister.services.ledger.quorum import RolledBack
from cloister.services.ledger.recovery import require_own_note
from cloister.storage.database_file import CorruptStore
from cloister.storage.ledger_store import StoredCheckpoint, StoredLog


class Store(Protocol):
    """What is asked of the storage; each call is on disk when it returns."""

    async def load(self, tree: GrowingTree | None = None) -> StoredLog:
        """Everything that is stored; with the tree of what was loaded before, only what was stored since."""

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

    async def compare(self, note: SignedNote, size: int, stored: int) -> None:
        """Raises where witnesses cosigned more than the `stored` entries; they are asked with an old `note`."""


class WitnessedLog:
    """Stores entries, has them cosigned, and shows what was. Nothing is signed that is not on disk."""

    others_show: ClassVar[bool] = False  # whether other processes show this log, as it is stored

    def __init__(self, origin: str, key: SigningKey, store: Store, cosigners: Cosigners) -> None:
        self.log = Log(origin=origin, key=key.public)
        self._key = key
        self._store = store
        self._cosigners = cosigners
        self._tree = GrowingTree()  # of entries that are on disk
        self._cosigned: StoredCheckpoint | None = None
        self._hidden = False  # whether a newer one than that may have been shown
        self._behind: asyncio.Task[None] | None = None  # stores it
        self._certain = False  # whether the tree is all that is on disk
        self._compared = False  # whether witnesses cosigned no more than that, when this process began to write
        self._writing = asyncio.Lock()  # to disk and tree, or from disk to tree: never both
        self._publishing = asyncio.Lock()  # one checkpoint at a time, and none while the disk is read back
        self._trouble = ""  # why nothing could be cosigned when last it was tried
        self._cosigned_at = 0.0  # by a monotonic clock

    @property
    def cosigned(self) -> StoredCheckpoint:
        """The latest checkpoint that a quorum cosigned.

        Raises:
            Unavailable: there is none yet, or none that is surely the latest.
        """
        if self._cosigned is None:
            raise Unavailable("no checkpoint was cosigned yet: POST /checkpoint asks the witnesses")
        if self._hidden:
            raise Unavailable("the witnesses are to cosign again what was stored last, before it is shown")
        return self._cosigned

    def missing(self) -> list[str]:
        """What lacks before an entry can be logged, in words."""
        if self._trouble:
            return [f"a checkpoint that counts: {self._trouble}"]
        if self._cosigned is None or self._hidden:
            return ["a first checkpoint that witnesses cosigned"]
        return []

    def quiet_for(self) -> float:
        """Seconds since a quorum cosigned a checkpoint of this process."""
        return monotonic() - self._cosigned_at

    async def fresh(self) -> None:
        """Know what was acknowledged before this was called. Here everything is: entries are numbered here."""

    async def entries(self, start: int, end: int, *, limit: int) -> list[bytes]:
        """Entries that count, from `start` to before `end`, each as it is in the tree that the witnesses cosigned.

        Raises:
            UsageError: no such run under the latest checkpoint.
            CorruptStore: an entry in the database is another, although its row is whole.
        """
        if not 0 <= start < end <= self.cosigned.size:
            raise UsageError(f"entries run from 0 to before {self.cosigned.size}")
        found = await self._store.entries(start, end, limit=limit)
        for number, entry in enumerate(found, start=start):
            if leaf_hash(entry) != self._tree.subtree(number, number + 1):
                raise CorruptStore(f"entry {number} is not the one that was cosigned")
        return found

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The path of entry `index` in the tree of the first `size` entries."""
        if not 0 <= index < size <= self.cosigned.size:
            raise UsageError(f"an index is below a size, and that is at most {self.cosigned.size}")
        return inclusion_path(index, size, self._tree.subtree)

    def inclusions(self, indices: Sequence[int]) -> tuple[tuple[bytes, ...], ...]:
        """The path of each of these entries under the latest checkpoint."""
        paths = inclusion_paths(indices, self.cosigned.size, self._tree.subtree)
        return tuple(paths[index] for index in indices)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The path from the tree of the first `old` entries to that of the first `new`."""
        if not 0 < old <= new <= self.cosigned.size:
            raise UsageError(f"sizes go from 1 to {self.cosigned.size}, the older first")
        return consistency_path(old, new, self._tree.subtree)

    def subtree(self, start: int, end: int) -> bytes:
        """The root over entries `start` to before `end`, as RFC 6962 splits a tree."""
        if not 0 <= start < end <= self.cosigned.size:
            raise UsageError(f"entries run from 0 to before {self.cosigned.size}")
        return self._tree.subtree(start, end)

    @property
    def _size(self) -> int:
        return 0 if self._cosigned is None else self._cosigned.size

    @property
    def _unwitnessed(self) -> int:
        """Entries that are stored and that no quorum cosigned."""
        return self._tree.size - self._size

    async def _make_certain(self) -> None:
        """Read back what may be on disk or not, and have witnesses say, once, that it is no older than they know.

        Before this nothing is stored and nothing signed: a restored backup would become a second history.
        """
        if not (self._certain and self._compared):
            async with self._publishing:
                await self._ascertain()

    async def _ascertain(self) -> None:
        """As `_make_certain`, while nothing is published."""
        if not self._certain:
            await self._recover()
        if not self._compared:
            try:
                await self._cosigners.compare(self._known_note(), self._size, self._tree.size)
            except RolledBack:
                self._hidden = False  # what is stored is older than what was shown: readers get it as it is
                raise
            self._compared = True

    def _known_note(self) -> SignedNote:
        """The newest checkpoint as the log signed it; before there is one, that of the empty log."""
        if self._cosigned is None:
            return sign_checkpoint(Checkpoint(self.log.origin, 0, self._tree.root(0)), self._key)
        note = parse_note(self._cosigned.note)
        return SignedNote(note.text, tuple(line for line in note.signatures if line.name == self.log.origin))

    async def _recover(self) -> None:
        """Read what was stored since the last time, at first everything."""
        async with self._writing:
            stored = await self._store.load(self._tree)
            if stored.newest is not None:
                require_own_note(stored.newest, self.log)
            self._tree = stored.tree
            self._take(stored.newest)
            self._certain = True

    def _take(self, newest: StoredCheckpoint | None) -> None:
        """Show `newest`, unless it is older than what this process shows, or may have shown in an earlier life."""
        if self.others_show:
            self._cosigned = newest
        elif self._cosigned is None:
            self._cosigned, self._hidden = newest, newest is not None and newest.size < self._tree.size

    async def _persist(self, entries: Sequence[bytes]) -> list[int]:
        """The indices of `entries`, which are on disk now."""
        async with self._writing:
            try:
                indices = await self._store.append(entries)
            except BaseException:
                self._certain = False
                raise
            self._tree.extend(_leaves_beyond(self._tree.size, indices, entries))
        return indices

    async def _publish(self, *, needed: int | None = None) -> None:
        """Have all that is stored cosigned now, and store that. What is stored meanwhile is for the next checkpoint.

        Where `needed` is given, nothing is done if so many entries were cosigned while this waited for its turn.
        """
        async with self._publishing:
            await self._stored_last()
            await self._ascertain()
            if needed is not None and needed <= self._size:
                return
            tree, size = self._tree, self._tree.size
            checkpoint = Checkpoint(self.log.origin, size, tree.root(size))
            note = await self._cosigners.cosign(sign_checkpoint(checkpoint, self._key), size, tree)
            cosigned = StoredCheckpoint(size, checkpoint.root, note.encode())
            if self.others_show or size == self._size:
                await self._store.publish(cosigned)
            else:
                self._behind = asyncio.create_task(self._store_behind(cosigned))
            self._cosigned, self._cosigned_at, self._trouble, self._hidden = cosigned, monotonic(), "", False

    async def _store_behind(self, cosigned: StoredCheckpoint) -> None:
        try:
            await self._store.publish(cosigned)
        except CloisterError as error:
            self._trouble = str(error)
            raise

    async def _stored_last(self) -> None:
        """The checkpoint before is on disk; where that failed, it is tried once more.

        Raises:
            Unavailable, CorruptStore: as the store says.
        """
        if self._behind is not None:
            try:
                await asyncio.shield(self._behind)
            except CloisterError:
                await self._store.publish(self.cosigned)
            self._behind = None


def _leaves_beyond(size: int, indices: Sequence[int], entries: Sequence[bytes]) -> Iterator[bytes]:
    """The leaf hashes of those entries that are new in a log of `size`, each once."""
    for index, entry in zip(indices, entries, strict=True):
        if index == size:
            yield leaf_hash(entry)
            size += 1
