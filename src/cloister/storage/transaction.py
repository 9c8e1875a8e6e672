"""What stores ask of a database: one transaction as a generator of steps, whichever database takes them.

A step is yielded and answered with its rows. The SQL is what SQLite and PostgreSQL both understand; values stand where
`?` is. The generator decides and has no connection, so that each rule of a store is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cloister.errors import Unavailable

T = TypeVar("T")

Row = Sequence[Any]


class Deposed(Unavailable):
    """This process does not lead, or no longer: another front end numbers entries. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Query:
    """One statement; answered with all its rows."""

    sql: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Each:
    """One statement, whose rows are given to `take` one by one until it says False; never all of them in memory."""

    sql: str
    values: tuple[Any, ...]
    take: Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Find:
    """Answered with those rows of `table` whose `key`, the first of the `columns`, is one of `values`."""

    table: str
    columns: tuple[str, ...]
    values: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Insert:
    """Adds `rows`, whose columns have the `types` that PostgreSQL knows them by; answered with nothing."""

    table: str
    types: tuple[str, ...]
    rows: Sequence[Row]


Step = Query | Each | Find | Insert
Steps = Generator[Step, Any, T]
Work = Callable[[], Steps[T]]  # begins the transaction's steps; begun once


class Transactions(Protocol):
    """A database. What it has returned from `write` is on disk."""

    async def write(self, work: Work[T], *, by_any: bool = False) -> T:
        """What `work` returns, once its transaction is on disk. If it raises, nothing of it is.

        Of several front ends on one database only the leading one may, but for what is the same `by_any` of them.

        Raises:
            Unavailable: the database failed. The transaction may then be on disk or not: look before the next.
            CorruptStore: it is damaged, or one of its constraints forbids the change.
        """

    async def read(self, work: Work[T]) -> T:
        """What `work` returns of one state of the database; it changes nothing. Raises as `write`."""

    async def probe(self) -> None:
        """Know whether it can be used now, for writing where this process is the one that writes. Raises as `write`."""

    async def close(self) -> None:
        """Leave it; a transaction in flight ends first."""
