"""The ledger's entries and cosigned checkpoints, in SQLite or PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.crypto.merkle import GrowingTree, leaf_hash
from cloister.storage.database_file import CorruptStore
from cloister.storage.transaction import Each, Find, Insert, Query, Row, Steps, Transactions

COUNT = "SELECT coalesce(max(number), -1) + 1 FROM entries"
CHECKPOINTS = (  # those beyond a size, and the newest one that is not
    "SELECT size, root, note, digest FROM checkpoints"
    " WHERE size >= coalesce((SELECT max(size) FROM checkpoints WHERE size <= ?), 0) ORDER BY size"
)
ENTRY_TYPES = ("bigint", "bytea", "bytea")  # number, digest, entry


class LostEntries(CorruptStore):
    """The database was put back to an earlier state while it was in use."""


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint that a quorum cosigned, as it was stored; the note's signatures are not checked."""

    size: int
    root: bytes  # 32 bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class StoredLog:
    """What was found on disk: the tree over all entries, and the largest checkpoint. Each root is the tree's."""

    tree: GrowingTree
    newest: StoredCheckpoint | None


class LedgerStore:
    """One log. Each call is one transaction."""

    def __init__(self, database: Transactions) -> None:
        self._database = database
        self._size = 0  # entries that are known to have been there

    async def claim(self, origin: str, key: bytes) -> None:
        """Make this the log of `origin` and `key` for good.

        Raises:
            CorruptStore: it is another log's.
        """
        found = await self._database.write(lambda: _claim(origin, key), by_any=True)
        if found != (origin, key):
            raise CorruptStore(
                f"the database is of the log {found[0]} with the key {found[1].hex()[:16]}…,"
                f" the settings name {origin} with {key.hex()[:16]}…"
            )

    async def load(self, tree: GrowingTree | None = None) -> StoredLog:
        """Everything, each entry and note held against its digest, each root against the entries; 64 bytes an entry.

        With the `tree` of entries that were loaded before, what was stored since: it grows, and is held against the
        newest root.

        Raises:
            CorruptStore: an entry is missing or not what was written, or a root is not that of the entries. A log that
                went on from there would show its witnesses another history than the one they cosigned.
            LostEntries: there are fewer than there were.
        """
        known = GrowingTree() if tree is None else tree
        stored = await self._database.read(lambda: _load(known))
        _require_all(self._size, stored.tree.size)
        self._size = stored.tree.size
        return stored

    async def append(self, entries: Sequence[bytes]) -> list[int]:
        """Number `entries` in their order and store them; the same bytes keep the index they have.

        Raises:
            LostEntries: there are fewer than there were; nothing was stored.
        """
        indices, size = await self._database.write(lambda: _append(entries, self._size))
        self._size = size
        return indices

    async def publish(self, checkpoint: StoredCheckpoint) -> None:
        """Store a cosigned checkpoint, in place of an older one of the same size and root."""
        await self._database.write(lambda: _publish(checkpoint))

    async def entries(self, start: int, end: int, *, limit: int) -> list[bytes]:
        """Entries `start` to before `end`, in `limit` bytes all told, but one at least if there is one.

        Raises:
            CorruptStore: an entry is not what was written.
        """
        return await self._database.read(lambda: _entries(start, end, limit))


def _claim(origin: str, key: bytes) -> Steps[tuple[str, bytes]]:
    yield Query("INSERT INTO identity VALUES (1, ?, ?) ON CONFLICT DO NOTHING", (origin, key))
    ((origin, key),) = yield Query("SELECT origin, key FROM identity")
    return origin, key


def _load(tree: GrowingTree) -> Steps[StoredLog]:
    before = tree.size
    newest: StoredCheckpoint | None = None

    def grow(row: Row) -> bool:
        number, digest, entry = row
        if number != tree.size:
            raise CorruptStore(f"entry {tree.size} is missing: entry {number} follows the one before")
        _require_digest(number, digest, entry)
        tree.append(leaf_hash(entry))
        return True

    def hold(row: Row) -> bool:
        nonlocal newest
        newest = _held(row, tree)
        return True

    ((size,),) = yield Query(COUNT)
    _require_all(before, size)
    yield Each("SELECT number, digest, entry FROM entries WHERE number >= ? ORDER BY number", (before,), grow)
    yield Each(CHECKPOINTS, (before,), hold)
    return StoredLog(tree, newest)


def _held(row: Row, tree: GrowingTree) -> StoredCheckpoint:
    size, root, note, digest = row
    what = f"the checkpoint of {size} entries"
    if digest is not None and hashlib.sha256(note).digest() != digest:
        raise CorruptStore(f"the note of {size} entries is damaged: its digest is another")
    if size > tree.size:
        raise CorruptStore(f"{what} was cosigned, but only {tree.size} entries are stored")
    if root != tree.root(size):
        raise CorruptStore(f"{what} has the root {root.hex()}, its entries {tree.root(size).hex()}")
    return StoredCheckpoint(size, root, note)


def _require_digest(number: int, digest: bytes, entry: bytes) -> None:
    if hashlib.sha256(entry).digest() != digest:
        raise CorruptStore(f"entry {number} is not what was written: its digest is another")


def _require_all(known: int, found: int) -> None:
    if found < known:
        raise LostEntries(
            f"the database has {found} entries and had {known}: it was put back to an earlier state, or went over to a"
            " copy that lagged behind; bring the newer one back and start the ledger again"
        )


def _append(entries: Sequence[bytes], known_size: int) -> Steps[tuple[list[int], int]]:
    ((size,),) = yield Query(COUNT)
    _require_all(known_size, size)
    digests = [hashlib.sha256(entry).digest() for entry in entries]
    numbers: dict[bytes, int] = dict((yield Find("entries", ("digest", "number"), digests)))
    fresh: list[Row] = []
    for digest, entry in zip(digests, entries, strict=True):
        if digest not in numbers:
            numbers[digest] = size + len(fresh)
            fresh.append((numbers[digest], digest, entry))
    if fresh:
        yield Insert("entries", ENTRY_TYPES, fresh)
    return [numbers[digest] for digest in digests], size + len(fresh)


def _publish(checkpoint: StoredCheckpoint) -> Steps[None]:
    yield Query(
        "INSERT INTO checkpoints VALUES (?, ?, ?, ?)"
        " ON CONFLICT (size) DO UPDATE SET root = excluded.root, note = excluded.note, digest = excluded.digest",
        (checkpoint.size, checkpoint.root, checkpoint.note, hashlib.sha256(checkpoint.note).digest()),
    )


def _entries(start: int, end: int, limit: int) -> Steps[list[bytes]]:
    found: list[bytes] = []
    total = 0

    def take(row: Row) -> bool:
        nonlocal total
        number, digest, entry = row
        _require_digest(number, digest, entry)
        total += len(entry)
        if found and total > limit:
            return False
        found.append(entry)
        return True

    sql = "SELECT number, digest, entry FROM entries WHERE number >= ? AND number < ? ORDER BY number"
    yield Each(sql, (start, end), take)
    return found
