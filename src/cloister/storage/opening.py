"""Opens the database that a service's settings name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cloister.errors import UsageError
from cloister.storage.database import Database
from cloister.storage.transaction import Transactions

if TYPE_CHECKING:  # its library is an extra
    from cloister.storage.postgresql.database import PostgresDatabase

SQLITE = "sqlite"


class Named(Protocol):
    """How settings name a database; see `hosting.database_settings`."""

    @property
    def url(self) -> str:
        """`sqlite`, or a server's."""

    @property
    def password(self) -> Path | None:
        """A file with it."""

    @property
    def ca(self) -> Path | None:
        """Who signs the server's certificate."""

    @property
    def connect_seconds(self) -> float:
        """For a connection."""

    @property
    def answer_seconds(self) -> float:
        """For each step of a transaction."""

    @property
    def unsafe_may_forget(self) -> bool:
        """Whether a server may be used that is not durable."""


async def open_database(named: Named, folder: Path, *, service: str) -> Transactions:
    """The database of `service`, at its newest migration and for this process alone: in `folder`, or on a server.

    Raises:
        UsageError: the server's library is not installed, its URL makes no sense, or it is not durable.
        CorruptStore: it is damaged, or of a newer version.
        Unavailable: it cannot be reached, or another process has it.
    """
    if named.url == SQLITE:
        return await Database.open(folder / f"{service}.sqlite", migrations=service)
    return await _open_server(named, service, shared=False)


async def open_shared(named: Named, *, service: str) -> PostgresDatabase:
    """A server's database that other processes of the service share, one of which leads; see `storage.leadership`.

    Raises as `open_database`.
    """
    return await _open_server(named, service, shared=True)


async def _open_server(named: Named, service: str, *, shared: bool) -> PostgresDatabase:
    try:
        from cloister.storage.postgresql.address import parse_address  # noqa: PLC0415 - an extra
        from cloister.storage.postgresql.database import PostgresDatabase  # noqa: PLC0415
        from cloister.storage.postgresql.session import Limits  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(f"a database server needs {error.name}: pip install 'cloister[postgres]'") from error
    address = parse_address(named.url, password=named.password, ca=named.ca)
    limits = Limits(named.connect_seconds, named.answer_seconds, named.answer_seconds)
    return await PostgresDatabase.open(
        address, migrations=service, limits=limits, may_forget=named.unsafe_may_forget, shared=shared
    )
