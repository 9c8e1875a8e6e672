"""One PostgreSQL database as a service uses it: one session that writes, a few that read.

Durable as the server's `fsync` and `synchronous_commit` make it, which are looked at for each connection. What holds
the single writer is said where the database is opened: a session that writes holds the database's lock, or a fence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any, TypeVar

from cloister.errors import Unavailable
from cloister.storage.postgresql.address import Address
from cloister.storage.postgresql.schema import migrate, require_durable, schema_of
from cloister.storage.postgresql.session import Limits, Prepare, Session
from cloister.storage.transaction import Query, Steps, Work

T = TypeVar("T")

READERS = 3  # sessions that only read
PROBE_SECONDS = 1.0


class PostgresDatabase:
    """Runs transactions; see `Transactions`."""

    def __init__(
        self, address: Address, *, migrations: str, limits: Limits | None = None, may_forget: bool = False
    ) -> None:
        """Nothing is asked of the database before `open`. `may_forget` takes a server that is not durable."""
        self._schema = schema_of(migrations)
        self._migrations = migrations
        self._may_forget = may_forget
        self._limits = limits or Limits()
        self._address = address
        self._writer = Session(address, self._limits, prepare=self._prepare_writer)
        self._readers: asyncio.LifoQueue[Session] = asyncio.LifoQueue()
        for _ in range(READERS):
            self._readers.put_nowait(Session(address, self._limits, prepare=self._prepare))
        self._proved_at = -PROBE_SECONDS

    @classmethod
    async def open(
        cls, address: Address, *, migrations: str, limits: Limits | None = None, may_forget: bool = False
    ) -> PostgresDatabase:
        """Reach the database and bring it to the newest of the named migrations.

        Raises:
            CorruptStore: its tables are not what the migrations make, or of a newer version.
            Unavailable: it cannot be reached, or another process has it.
            UsageError: it does not let us in, or is not durable.
        """
        database = cls(address, migrations=migrations, limits=limits, may_forget=may_forget)
        try:
            await database._writer.use(lambda connection: migrate(connection, migrations))
            await database.probe()
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, work: Work[T]) -> T:
        """What `work` returns, once its transaction is on disk; see `Transactions.write`."""
        return await self._writer.transact(work, fence=self._fence)

    async def read(self, work: Work[T]) -> T:
        """What `work` returns of one state of the database; see `Transactions.read`."""
        async with self._reader() as session:
            return await session.transact(work, read_only=True)

    async def probe(self) -> None:
        """Write a row, to know that it can be done; not sooner again than `PROBE_SECONDS` after it could.

        Raises:
            Unavailable, CorruptStore, UsageError: as `write`; or the server's settings have become such that it may
                forget.
        """
        if monotonic() >= self._proved_at + PROBE_SECONDS:
            await self._writer.use(lambda connection: require_durable(connection, may_forget=self._may_forget))
            await self.write(_write_nothing_new)
            self._proved_at = monotonic()

    async def close(self) -> None:
        """Leave the database; a transaction in flight ends first."""
        await self._writer.close()
        while not self._readers.empty():
            await self._readers.get_nowait().close()

    @contextlib.asynccontextmanager
    async def _reader(self) -> AsyncIterator[Session]:
        try:
            async with asyncio.timeout(self._limits.turn_seconds):
                session = await self._readers.get()
        except TimeoutError as error:
            raise Unavailable(f"{self._address} is busy: too many wait for it") from error
        try:
            yield session
        finally:
            self._readers.put_nowait(session)

    @property
    def _fence(self) -> Prepare | None:
        return None

    async def _prepare(self, connection: Any) -> None:
        await require_durable(connection, may_forget=self._may_forget)
        await connection.execute(f"SET search_path = {self._schema}")

    async def _prepare_writer(self, connection: Any) -> None:
        await self._prepare(connection)
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", self._schema):
            raise Unavailable(f"{self._address} is in use by another process of this service: end that one")


def _write_nothing_new() -> Steps[None]:
    yield Query("UPDATE probe SET written = written + 1")
