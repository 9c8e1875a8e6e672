"""One SQLite file, opened by one process, used from one thread of its own.

A transaction that has returned survives a power cut: it is in the write-ahead log and in the log's copy, both
synchronised (`storage.log_copy`), or in the file itself. Those that wait for their turn together are synchronised
together; the log is moved into the file when it is long, and nobody waits for that.
`locking_mode=EXCLUSIVE`: a second process that opens the file is refused, so that no two sequencers ever number
entries of one log.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import TypeVar

from cloister.errors import Unavailable
from cloister.storage.database_file import CorruptStore, move_log, open_file
from cloister.storage.log_copy import LogCopy
from cloister.storage.transaction import Each, Find, Insert, Query, Row, Step, Work

T = TypeVar("T")

PROBE_SECONDS = 1.0
LOT = 256  # values that one statement finds


class Database:
    """Runs transactions. Every action gets the connection in the database's own thread, never two at once."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor, path: Path, log: LogCopy) -> None:
        self._connection = connection
        self._thread = thread
        self._path = path
        self._log = log
        self._taken = self._kept = 0  # transactions; those that are on disk
        self._lagging = False  # whether the copy lacks something of the log
        self._proved_at = -PROBE_SECONDS

    @classmethod
    async def open(cls, path: Path, *, migrations: str) -> Database:
        """Open or make the file (mode 0600), check it whole, and bring it to the newest of the named migrations.

        Raises:
            CorruptStore: it is damaged, or written by a newer version.
            Unavailable: another process has it open, or it cannot be read or written.
        """
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite {path.name}")
        loop = asyncio.get_running_loop()
        log = LogCopy.of(path)
        try:
            connection = await loop.run_in_executor(thread, _open, path, migrations, log)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(connection, thread, path, log)

    async def run(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """What `action` returns, once its transaction is on disk. If it raises, nothing of it is.

        Raises:
            Unavailable: the disk failed or is full. The transaction may then be on disk or not: look before the next.
            CorruptStore: the file is damaged, or one of its constraints forbids the change.
        """
        loop = asyncio.get_running_loop()
        value, number = await loop.run_in_executor(self._thread, self._transact, action)
        await loop.run_in_executor(self._thread, self._keep, number)  # after those that waited: they are kept with it
        return value

    async def write(self, work: Work[T], *, by_any: bool = False) -> T:  # noqa: ARG002 - there is no other process
        """What `work` returns, once its transaction is on disk; raises as `run`."""
        return await self.run(lambda connection: _play(connection, work))

    async def read(self, work: Work[T]) -> T:
        """What `work` returns, which changes nothing; raises as `run`."""
        return await self.write(work)

    async def probe(self) -> None:
        """Write a page, to know that it can be done; not sooner again than `PROBE_SECONDS` after it could.

        Raises:
            Unavailable, CorruptStore: as `run`.
        """
        if monotonic() >= self._proved_at + PROBE_SECONDS:
            await self.run(_write_nothing_new)
            self._proved_at = monotonic()

    async def close(self) -> None:
        """Close the file; a transaction in flight ends first."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        with contextlib.suppress(OSError, sqlite3.Error):  # what is not moved now is in the log, for the next start
            self._move()
        with contextlib.suppress(OSError):  # before SQLite removes the log
            self._log.empty()
        self._connection.close()
        self._log.close()

    def _keep(self, number: int) -> None:
        """Have the first `number` transactions on disk, and all that were committed since.

        Raises:
            Unavailable: they may be there or not.
        """
        if self._kept >= number:
            return
        with self._disk_failing():
            if self._lagging:
                self._move()
            self._lagging = True
            self._log.keep()
            self._lagging = False
        self._kept = self._taken
        if self._log.untidy:
            self._thread.submit(self._tidy)  # behind those that wait

    def _tidy(self) -> None:
        """Move a long log into the file, make room in a short one. If either fails, the next transaction tells."""
        with contextlib.suppress(OSError, sqlite3.Error):
            if self._log.full:
                self._move()
            self._log.make_room()

    def _move(self) -> None:
        """Move what was committed into the file, synchronised, and begin log and copy anew."""
        move_log(self._connection)
        self._log.moved()

    def _transact(self, action: Callable[[sqlite3.Connection], T]) -> tuple[T, int]:
        """What `action` returns, committed, and the transaction's number."""
        try:
            with self._disk_failing():
                self._connection.execute("BEGIN IMMEDIATE")
                value = action(self._connection)
                self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._taken += 1
        return value, self._taken

    @contextlib.contextmanager
    def _disk_failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Unavailable(f"{self._path} cannot be used: {error}") from error
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be used: {error.strerror}") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise CorruptStore(f"{self._path} would not hold what it must: {error}") from error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _play(connection: sqlite3.Connection, work: Work[T]) -> T:
    with contextlib.closing(work()) as steps:
        try:
            step = next(steps)
            while True:
                step = steps.send(_take(connection, step))
        except StopIteration as done:
            value: T = done.value
            return value


def _take(connection: sqlite3.Connection, step: Step) -> Sequence[Row]:
    match step:
        case Query(sql, values):
            return connection.execute(sql, values).fetchall()
        case Each(sql, values, take):
            for row in connection.execute(sql, values):
                if not take(row):
                    break
        case Find(table, columns, values):
            return [row for some in _several(values) for row in _found(connection, table, columns, some)]
        case Insert(table, types, rows):
            marks = ", ".join("?" * len(types))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - names of ours
    return ()


def _several(values: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Full lots, of which SQLite keeps the statement that finds them, and what is left."""
    return (values[at : at + LOT] for at in range(0, len(values), LOT))


def _found(connection: sqlite3.Connection, table: str, columns: Sequence[str], values: Sequence[bytes]) -> list[Row]:
    marks = ", ".join("?" * len(values))
    sql = f"SELECT {', '.join(columns)} FROM {table} WHERE {columns[0]} IN ({marks})"  # noqa: S608 - names of ours
    return connection.execute(sql, values).fetchall()


def _write_nothing_new(connection: sqlite3.Connection) -> None:
    """The number of the last migration once more: SQLite writes the page that holds it all the same."""
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version={done}")


def _open(path: Path, migrations: str, log: LogCopy) -> sqlite3.Connection:
    log.mend()
    try:
        connection = open_file(path, migrations)
        log.begin()
    except BaseException:
        log.close()
        raise
    return connection
