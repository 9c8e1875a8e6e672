"""Connections to PostgreSQL, each used by one transaction at a time, with a limit on every wait.

A connection on which anything went wrong is dropped, whatever state it is in; the next transaction makes another. So a
server that stands still, restarts or fails over costs each caller one limit at most, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from cloister.errors import CloisterError, Unavailable
from cloister.storage.postgresql.address import Address
from cloister.storage.postgresql.faults import translated
from cloister.storage.postgresql.statements import take
from cloister.storage.transaction import Work

T = TypeVar("T")

Prepare = Callable[[Any], Awaitable[None]]  # what is done once with a new connection


@dataclass(frozen=True, slots=True)
class Limits:
    """How long anything may take."""

    connect_seconds: float = 5
    answer_seconds: float = 10  # each step of a transaction
    turn_seconds: float = 10  # waiting for the transactions before

    @property
    def idle_milliseconds(self) -> int:
        """After which the server ends a session that stands still amid a transaction, as its process may."""
        return int(self.answer_seconds * 1000)


class Session:
    """One connection, made when it is needed."""

    def __init__(self, address: Address, limits: Limits, *, prepare: Prepare) -> None:
        self._address = address
        self._limits = limits
        self._prepare = prepare
        self._turn = asyncio.Lock()
        self._connection: Any = None

    async def transact(self, work: Work[T], *, read_only: bool = False, fence: Prepare | None = None) -> T:
        """What `work` returns, once its transaction is committed; `fence` comes first in it, and may raise.

        Raises:
            Unavailable, CorruptStore, UsageError: as `faults.translated` says; nothing of it is stored, but that a
                commit may be whose answer did not come.
        """
        async with self._connected() as connection:
            began = connection.transaction(isolation="repeatable_read", readonly=read_only)
            async with asyncio.timeout(self._limits.answer_seconds):
                await began.start()
            if fence is not None:
                async with asyncio.timeout(self._limits.answer_seconds):
                    await fence(connection)
            value = await self._play(connection, work)
            async with asyncio.timeout(self._limits.answer_seconds):
                await began.commit()
            return value

    async def use(self, action: Callable[[Any], Awaitable[T]]) -> T:
        """What `action` returns of the connection, which is in no transaction; raises as `transact`."""
        async with self._connected() as connection, asyncio.timeout(self._limits.answer_seconds):
            return await action(connection)

    async def close(self) -> None:
        """End the connection once its transaction has."""
        async with self._turn:
            await self._drop()

    async def _play(self, connection: Any, work: Work[T]) -> T:
        with contextlib.closing(work()) as steps:
            try:
                step = next(steps)
                while True:
                    answer = await take(connection, step, seconds=self._limits.answer_seconds)
                    step = steps.send(answer)
            except StopIteration as done:
                value: T = done.value
                return value

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        """The connection, for the one whose turn it is; dropped if anything goes wrong."""
        with translated(self._address):
            await self._wait_for_turn()
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connect()
                yield self._connection
            except BaseException:
                await self._drop()
                raise
            finally:
                self._turn.release()

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(self._limits.turn_seconds):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable(f"{self._address} is busy: too many wait for it") from error

    async def _connect(self) -> Any:
        address, limits = self._address, self._limits
        hosts, ports = zip(*address.hosts, strict=True)
        password = None if address.password is None else address.password.reveal().decode()
        async with asyncio.timeout(limits.connect_seconds):
            connection = await asyncpg.connect(
                host=list(hosts),
                port=list(ports),
                user=address.user,
                password=password,
                database=address.database,
                ssl=address.trusted or False,
                target_session_attrs="read-write",
                timeout=limits.connect_seconds,
                server_settings={
                    "application_name": "cloister",
                    "statement_timeout": str(limits.idle_milliseconds),
                    "lock_timeout": str(limits.idle_milliseconds),
                    "idle_in_transaction_session_timeout": str(limits.idle_milliseconds),
                    "tcp_keepalives_idle": "10",
                    "tcp_keepalives_interval": "5",
                    "tcp_keepalives_count": "3",
                },
            )
        try:
            async with asyncio.timeout(limits.answer_seconds):
                await self._prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        with contextlib.suppress(CloisterError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            if not connection.is_in_transaction():
                async with asyncio.timeout(1):
                    await connection.close()
        connection.terminate()
