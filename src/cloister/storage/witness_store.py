"""What a witness remembers, in SQLite or PostgreSQL: for each log the last size and root that it cosigned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cloister.ledger.witness_rules import NOTHING, TreeHead
from cloister.storage.database_file import CorruptStore
from cloister.storage.transaction import Query, Steps, Transactions


class WitnessStore:
    """Heads by origin."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def advance(self, origin: str, decide: Callable[[TreeHead], TreeHead]) -> TreeHead:
        """Ask `decide` what follows the remembered head, and remember that: one transaction, on disk when it returns.

        "Checking the old size against the latest checkpoint and persisting the new checkpoint must be performed
        atomically" (C2SP tlog-witness).
        """
        return await self._database.write(lambda: _advance(origin, decide))

    async def head(self, origin: str) -> TreeHead:
        """What is remembered of a log; the empty tree before the first cosignature."""
        return await self._database.read(lambda: _head(origin))

    async def check(self) -> None:
        """Hold every head against its digest.

        Raises:
            CorruptStore: one is not what was written.
        """
        await self._database.read(_check)


def _advance(origin: str, decide: Callable[[TreeHead], TreeHead]) -> Steps[TreeHead]:
    head = decide((yield from _head(origin)))
    yield Query(
        "INSERT INTO heads VALUES (?, ?, ?, ?)"
        " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, digest = excluded.digest",
        (origin, head.size, head.root, _digest(origin, head)),
    )
    return head


def _head(origin: str) -> Steps[TreeHead]:
    rows = yield Query("SELECT size, root, digest FROM heads WHERE origin = ?", (origin,))
    return _checked(origin, *rows[0]) if rows else NOTHING


def _check() -> Steps[None]:
    for row in (yield Query("SELECT origin, size, root, digest FROM heads")):
        _checked(*row)


def _checked(origin: str, size: int, root: bytes, digest: bytes | None) -> TreeHead:
    head = TreeHead(size, root)
    if digest is not None and digest != _digest(origin, head):
        raise CorruptStore(f"what was cosigned last of {origin} is not what was written: its digest is another")
    return head


def _digest(origin: str, head: TreeHead) -> bytes:
    return hashlib.sha256(b"%b\0%d\0%b" % (origin.encode(), head.size, head.root)).digest()
