"""The ledger's entries and cosigned checkpoints in SQLite."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.crypto.merkle import leaf_hash
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint that a quorum cosigned, as it was stored; nothing in it is checked."""

    size: int
    root: bytes  # 32 bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class StoredLog:
    """What was found on disk: the leaf hashes of all entries in order, and the checkpoints by size."""

    leaves: tuple[bytes, ...]
    checkpoints: tuple[StoredCheckpoint, ...]


class LedgerStore:
    """One log. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, origin: str, key: bytes) -> None:
        """Make this the log of `origin` and `key` for good.

        Raises:
            CorruptStore: it is another log's.
        """
        found = await self._database.run(lambda connection: _claim(connection, origin, key))
        if found != (origin, key):
            raise CorruptStore(
                f"the database is of the log {found[0]} with the key {found[1].hex()[:16]}…,"
                f" the settings name {origin} with {key.hex()[:16]}…"
            )

    async def load(self) -> StoredLog:
        """Everything, with each entry held against its digest.

        Raises:
            CorruptStore: an entry is missing or not what was written.
        """
        return await self._database.run(_load)

    async def append(self, entries: Sequence[bytes]) -> list[int]:
        """Number `entries` in their order and store them; the same bytes keep the index they have."""
        return await self._database.run(lambda connection: [_append(connection, entry) for entry in entries])

    async def publish(self, checkpoint: StoredCheckpoint) -> None:
        """Store a cosigned checkpoint, in place of an older one of the same size and root."""
        await self._database.run(lambda connection: _publish(connection, checkpoint))

    async def entries(self, start: int, end: int, *, limit: int) -> list[bytes]:
        """Entries `start` to before `end`, in `limit` bytes all told, but one at least if there is one.

        Raises:
            CorruptStore: an entry is not what was written.
        """
        return await self._database.run(lambda connection: _entries(connection, start, end, limit))


def _claim(connection: sqlite3.Connection, origin: str, key: bytes) -> tuple[str, bytes]:
    connection.execute("INSERT OR IGNORE INTO identity VALUES (1, ?, ?)", (origin, key))
    found: tuple[str, bytes] = connection.execute("SELECT origin, key FROM identity").fetchone()
    return found


def _load(connection: sqlite3.Connection) -> StoredLog:
    leaves: list[bytes] = []
    for number, digest, entry in connection.execute("SELECT number, digest, entry FROM entries ORDER BY number"):
        if number != len(leaves):
            raise CorruptStore(f"entry {len(leaves)} is missing: entry {number} follows the one before")
        _require_digest(number, digest, entry)
        leaves.append(leaf_hash(entry))
    rows = connection.execute("SELECT size, root, note, digest FROM checkpoints ORDER BY size")
    return StoredLog(tuple(leaves), tuple(_checkpoint(*row) for row in rows))


def _checkpoint(size: int, root: bytes, note: bytes, digest: bytes | None) -> StoredCheckpoint:
    if digest is not None and hashlib.sha256(note).digest() != digest:
        raise CorruptStore(f"the note of {size} entries is damaged: its digest is another")
    return StoredCheckpoint(size, root, note)


def _require_digest(number: int, digest: bytes, entry: bytes) -> None:
    if hashlib.sha256(entry).digest() != digest:
        raise CorruptStore(f"entry {number} is not what was written: its digest is another")


def _append(connection: sqlite3.Connection, entry: bytes) -> int:
    digest = hashlib.sha256(entry).digest()
    found = connection.execute("SELECT number FROM entries WHERE digest = ?", (digest,)).fetchone()
    if found is None:
        sql = "INSERT INTO entries SELECT coalesce(max(number), -1) + 1, ?, ? FROM entries RETURNING number"
        found = connection.execute(sql, (digest, entry)).fetchone()
    number: int = found[0]
    return number


def _publish(connection: sqlite3.Connection, checkpoint: StoredCheckpoint) -> None:
    connection.execute(
        "INSERT INTO checkpoints VALUES (?, ?, ?, ?)"
        " ON CONFLICT (size) DO UPDATE SET root = excluded.root, note = excluded.note, digest = excluded.digest",
        (checkpoint.size, checkpoint.root, checkpoint.note, hashlib.sha256(checkpoint.note).digest()),
    )


def _entries(connection: sqlite3.Connection, start: int, end: int, limit: int) -> list[bytes]:
    found: list[bytes] = []
    total = 0
    sql = "SELECT number, digest, entry FROM entries WHERE number >= ? AND number < ? ORDER BY number"
    for number, digest, entry in connection.execute(sql, (start, end)):
        _require_digest(number, digest, entry)
        total += len(entry)
        if found and total > limit:
            break
        found.append(entry)
    return found
