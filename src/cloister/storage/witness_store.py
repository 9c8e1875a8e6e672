"""What a witness remembers, in SQLite: for each log the last size and root that it cosigned."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable

from cloister.ledger.witness_rules import NOTHING, TreeHead
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore


class WitnessStore:
    """Heads by origin."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def advance(self, origin: str, decide: Callable[[TreeHead], TreeHead]) -> TreeHead:
        """Ask `decide` what follows the remembered head, and remember that: one transaction, on disk when it returns.

        "Checking the old size against the latest checkpoint and persisting the new checkpoint must be performed
        atomically" (C2SP tlog-witness).
        """
        return await self._database.run(lambda connection: _advance(connection, origin, decide))

    async def head(self, origin: str) -> TreeHead:
        """What is remembered of a log; the empty tree before the first cosignature."""
        return await self._database.run(lambda connection: _head(connection, origin))

    async def check(self) -> None:
        """Hold every head against its digest.

        Raises:
            CorruptStore: one is not what was written.
        """
        await self._database.run(_check)


def _advance(connection: sqlite3.Connection, origin: str, decide: Callable[[TreeHead], TreeHead]) -> TreeHead:
    head = decide(_head(connection, origin))
    connection.execute(
        "INSERT INTO heads VALUES (?, ?, ?, ?)"
        " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, digest = excluded.digest",
        (origin, head.size, head.root, _digest(origin, head)),
    )
    return head


def _head(connection: sqlite3.Connection, origin: str) -> TreeHead:
    row = connection.execute("SELECT size, root, digest FROM heads WHERE origin = ?", (origin,)).fetchone()
    return NOTHING if row is None else _checked(origin, *row)


def _check(connection: sqlite3.Connection) -> None:
    for row in connection.execute("SELECT origin, size, root, digest FROM heads").fetchall():
        _checked(*row)


def _checked(origin: str, size: int, root: bytes, digest: bytes | None) -> TreeHead:
    head = TreeHead(size, root)
    if digest is not None and digest != _digest(origin, head):
        raise CorruptStore(f"what was cosigned last of {origin} is not what was written: its digest is another")
    return head


def _digest(origin: str, head: TreeHead) -> bytes:
    return hashlib.sha256(b"%b\0%d\0%b" % (origin.encode(), head.size, head.root)).digest()
