"""One database of each kind: opened as services do, changed as only the host can, and taken back to a state before."""

import asyncio
import contextlib
import shutil
import sqlite3
from pathlib import Path

from cloister.storage.database import Database
from cloister.storage.postgresql.address import parse_address
from cloister.storage.postgresql.database import PostgresDatabase
from cloister.storage.postgresql.schema import schema_of
from cloister.storage.postgresql.session import Limits

LIMITS = Limits(connect_seconds=3, answer_seconds=3, turn_seconds=3)


class Sqlite:
    """A file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: Database | None = None

    async def open(self, name):
        await self.aclose()
        self._name = name
        self._open = await Database.open(self._folder / f"{name}.sqlite", migrations=name)
        return self._open

    async def aclose(self):
        if self._open is not None:
            await self._open.close()
        self._open = None

    async def as_host(self, *statements):
        """Run these with every trigger off; the database is opened again afterwards."""
        await self.aclose()
        await asyncio.to_thread(self._run, statements)
        return await self.open(self._name)

    def _run(self, statements):
        with contextlib.closing(sqlite3.connect(self._folder / f"{self._name}.sqlite")) as connection:
            triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            connection.executescript(";".join(f"DROP TRIGGER {name}" for name, _ in triggers))
            connection.executescript(";".join(statements))
            connection.executescript(";".join(sql for _, sql in triggers))
            connection.commit()

    async def keep(self):
        """A copy of it as it is, to be `restore`d."""
        await self.aclose()
        copy = self._folder / f"kept-{len(list(self._folder.iterdir()))}"
        shutil.copy(self._folder / f"{self._name}.sqlite", copy)
        await self.open(self._name)
        return copy

    async def restore(self, copy):
        await self.aclose()
        for file in self._folder.glob(f"{self._name}.sqlite*"):
            file.unlink()
        shutil.copy(copy, self._folder / f"{self._name}.sqlite")
        return await self.open(self._name)


class Postgres:
    """A database of its own on `server`."""

    def __init__(self, server) -> None:
        self._server = server
        self._database = ""
        self._open: PostgresDatabase | None = None

    @property
    def url(self):
        return self._server.url(self._database)

    async def open(self, name, **options):
        await self.aclose()
        self._name = name
        self._database = self._database or await self._server.new_database()
        options = {"limits": LIMITS} | options
        self._open = await PostgresDatabase.open(parse_address(self.url), migrations=name, **options)
        return self._open

    async def aclose(self):
        if self._open is not None:
            await self._open.close()
        self._open = None

    async def beside(self, *statements):
        """Run these while the database is in use."""
        first = f"SET search_path = {schema_of(self._name)}"
        await self._server.execute(";".join((first, *statements)), database=self._database)

    async def as_host(self, *statements):
        """Run these with every trigger off; the database is opened again afterwards."""
        await self.aclose()
        first = (f"SET search_path = {schema_of(self._name)}", "SET session_replication_role = replica")
        await self._server.execute(";".join((*first, *statements)), database=self._database)
        return await self.open(self._name)

    async def keep(self):
        await self.aclose()
        copy = await self._server.new_database(template=self._database)
        await self.open(self._name)
        return copy

    async def restore(self, copy):
        await self.aclose()
        self._database = await self._server.new_database(template=copy)
        return await self.open(self._name)
