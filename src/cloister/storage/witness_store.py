"""What a witness remembers, in SQLite: for each log the last size and root that it cosigned."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from cloister.ledger.witness_rules import NOTHING, TreeHead
from cloister.storage.database import Database


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


def _advance(connection: sqlite3.Connection, origin: str, decide: Callable[[TreeHead], TreeHead]) -> TreeHead:
    head = decide(_head(connection, origin))
    connection.execute(
        "INSERT INTO heads VALUES (?, ?, ?)"
        " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root",
        (origin, head.size, head.root),
    )
    return head


def _head(connection: sqlite3.Connection, origin: str) -> TreeHead:
    row = connection.execute("SELECT size, root FROM heads WHERE origin = ?", (origin,)).fetchone()
    return NOTHING if row is None else TreeHead(*row)
