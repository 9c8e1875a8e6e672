"""Which of several front ends on one database numbers entries: a row with a term, and a time until which it holds.

A front end whose term is over cannot write, however long it stood still and whatever it believes: each of its
transactions asks for its term in the row, and locks that, so that no other takes over amid it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloister.storage.transaction import Query, Steps

if TYPE_CHECKING:  # its library is an extra
    from cloister.storage.postgresql.database import PostgresDatabase


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, as the row says."""

    term: int
    url: str
    over: bool  # whether its time has passed


class Leadership:
    """One front end's way to lead."""

    def __init__(self, database: PostgresDatabase, *, url: str, seconds: float) -> None:
        """`url` is where others pass entries on to; a leader that writes nothing for `seconds` is replaced."""
        self._database = database
        self.url = url
        self._seconds = seconds

    async def leader(self) -> Leader:
        """Who leads now. Raises as `Transactions.read`."""
        return await self._database.read(_leader)

    async def stand(self) -> bool:
        """Begin a term if nobody's holds, so that this process may write from now on; whether it did.

        Raises:
            Unavailable: the database failed, or another took over at the same moment.
        """
        found = await self.leader()
        if not found.over:
            return False
        term = await self._database.write(lambda: _take_over(found.term, self.url, self._seconds), by_any=True)
        self._database.lead(term, seconds=self._seconds)
        return term is not None

    async def renew(self) -> None:
        """Make the term last.

        Raises:
            Deposed: another has taken over; this process may write no more.
            Unavailable: the database failed. The term may still hold.
        """
        await self._database.write(_nothing)

    async def resign(self) -> None:
        """Let another take over at once; raises as `renew`."""
        await self._database.write(_resign)
        self._database.lead(None)


def _leader() -> Steps[Leader]:
    ((term, url, over),) = yield Query("SELECT term, url, until < clock_timestamp() FROM leadership")
    return Leader(term, url, over)


def _take_over(term: int, url: str, seconds: float) -> Steps[int | None]:
    # A leader that stands still amid a transaction has the row locked: its session is ended, and its transaction with
    # it. Should the server have given that process number to another session of ours, that one connects again.
    yield Query(
        "SELECT pg_terminate_backend(a.pid) FROM leadership l JOIN pg_stat_activity a ON a.pid = l.backend"
        " WHERE l.term = ? AND l.until < clock_timestamp() AND a.pid <> pg_backend_pid()"
        " AND a.state <> 'idle' AND a.datname = current_database() AND a.usename = current_user"
        " AND a.application_name = 'cloister'",
        (term,),
    )
    rows = yield Query(
        "UPDATE leadership SET term = term + 1, url = ?, backend = pg_backend_pid(),"
        " until = clock_timestamp() + make_interval(secs => ?)"
        " WHERE term = ? AND until < clock_timestamp() RETURNING term",
        (url, seconds, term),
    )
    return rows[0][0] if rows else None


def _nothing() -> Steps[None]:
    yield from ()


def _resign() -> Steps[None]:
    yield Query("UPDATE leadership SET until = clock_timestamp()")
