"""One PostgreSQL database as a service uses it: one session that writes, a few that read.

Durable as the server's `fsync` and `synchronous_commit` make it, which are looked at for each connection. There is one
writer at a time: a process alone has the database's lock in its session that writes; of several that share it, each
transaction that writes must have the term that `storage.leadership` gave its process.
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
from cloister.storage.postgresql.session import Limits, Session
from cloister.storage.transaction import Deposed, Query, Steps, Work

T = TypeVar("T")

READERS = 3  # sessions that only read
PROBE_SECONDS = 1.0


class PostgresDatabase:
    """Runs transactions; see `Transactions`."""

    def __init__(self, address: Address, *, migrations: str, limits: Limits, may_forget: bool, shared: bool) -> None:
        """Nothing is asked of the database before `open`."""
        self._schema = schema_of(migrations)
        self._migrations = migrations
        self._may_forget = may_forget
        self._limits = limits
        self._shared = shared
        self._term: int | None = None
        self._term_seconds = 0.0
        self._address = address
        self._writer = Session(address, self._limits, prepare=self._prepare_writer)
        self._readers: asyncio.LifoQueue[Session] = asyncio.LifoQueue()
        for _ in range(READERS):
            self._readers.put_nowait(Session(address, self._limits, prepare=self._prepare))
        self._proved_at = -PROBE_SECONDS

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        migrations: str,
        limits: Limits | None = None,
        may_forget: bool = False,
        shared: bool = False,
    ) -> PostgresDatabase:
        """Reach the database and bring it to the newest of the named migrations.

        `may_forget` takes a server that is not durable; a `shared` database lets in other processes of the service, of
        which one leads.

        Raises:
            CorruptStore: its tables are not what the migrations make, or of a newer version.
            Unavailable: it cannot be reached, or another process has it.
            UsageError: it does not let us in, or is not durable.
        """
        database = cls(address, migrations=migrations, limits=limits or Limits(), may_forget=may_forget, shared=shared)
        try:
            await database._writer.use(lambda connection: migrate(connection, migrations))
            await database.probe()
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, work: Work[T], *, by_any: bool = False) -> T:
        """What `work` returns, once its transaction is on disk; see `Transactions.write`.

        Raises:
            Deposed: the database is shared and this process does not lead.
        """
        return await self._writer.transact(work, fence=self._hold_term if self._shared and not by_any else None)

    def lead(self, term: int | None, *, seconds: float = 0) -> None:
        """From now on write in this term, each write of which makes it last `seconds` more; None: write no more."""
        self._term, self._term_seconds = term, seconds

    async def read(self, work: Work[T]) -> T:
        """What `work` returns of one state of the database; see `Transactions.read`."""
        async with self._reader() as session:
            return await session.transact(work, read_only=True)

    async def probe(self) -> None:
        """Write a row, to know that it can be done; not sooner again than `PROBE_SECONDS` after it could.

        Of several front ends, those that do not lead only read one.

        Raises:
            Unavailable, CorruptStore, UsageError: as `write`; or the server's settings have become such that it may
                forget.
        """
        if monotonic() >= self._proved_at + PROBE_SECONDS:
            await self._writer.use(lambda connection: require_durable(connection, may_forget=self._may_forget))
            if self._shared and self._term is None:
                await self.read(_read_something)
            else:
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

    async def _hold_term(self, connection: Any) -> None:
        """Lock the row of the leader for this transaction, and make its term last.

        Raises:
            Deposed: the term is another's.
        """
        held = self._term is not None and await connection.fetchval(
            "UPDATE leadership SET backend = pg_backend_pid(), until = clock_timestamp() + make_interval(secs => $2)"
            " WHERE term = $1 RETURNING true",
            self._term,
            self._term_seconds,
        )
        if not held:
            self._term = None
            raise Deposed("this front end does not lead: another numbers entries, or none yet")

    async def _prepare(self, connection: Any) -> None:
        await require_durable(connection, may_forget=self._may_forget)
        await connection.execute(f"SET search_path = {self._schema}")

    async def _prepare_writer(self, connection: Any) -> None:
        await self._prepare(connection)
        if self._shared:
            return
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", self._schema):
            raise Unavailable(f"{self._address} is in use by another process of this service: end that one")


def _write_nothing_new() -> Steps[None]:
    yield Query("UPDATE probe SET written = written + 1")


def _read_something() -> Steps[None]:
    yield Query("SELECT written FROM probe")
