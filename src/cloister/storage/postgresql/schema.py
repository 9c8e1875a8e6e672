"""Brings a database to the newest migration, and holds its tables, rules and server against what they must be."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from importlib import resources
from typing import Any

import asyncpg

from cloister.errors import UsageError
from cloister.storage.database_file import CorruptStore

DURABLE = {"fsync": ("on",), "full_page_writes": ("on",), "synchronous_commit": ("on", "remote_apply", "remote_write")}
MAY_FORGET = "give the setting unsafe_may_forget to use it all the same, for a trial: what is acknowledged may be lost"

# What makes up a schema, by its name: columns, constraints, triggers, functions; the name itself is left out.
_SHAPE = """
SELECT 'column', c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p')
      AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', r.relname::text, c.conname::text, c.contype::text, c.convalidated::text,
       pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid WHERE c.connamespace = $1::text::regnamespace
UNION ALL
SELECT 'trigger', r.relname::text, t.tgname::text, t.tgenabled::text, t.tgtype::text,
       replace(pg_get_triggerdef(t.oid), $1::text || '.', '')
FROM pg_trigger t JOIN pg_class r ON r.oid = t.tgrelid
WHERE r.relnamespace = $1::text::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT 'rule', r.tablename::text, r.rulename::text, '', '', replace(r.definition, $1::text || '.', '')
FROM pg_rules r WHERE r.schemaname = $1::text
UNION ALL
SELECT 'function', p.proname::text, '', '', '', p.prosrc FROM pg_proc p WHERE p.pronamespace = $1::text::regnamespace
ORDER BY 1, 2, 3, 4, 5, 6
"""


def schema_of(migrations: str) -> str:
    """The schema that a service's tables are in: one database may have a ledger's and a witness's."""
    return f"cloister_{migrations}"


async def require_durable(connection: Any, *, may_forget: bool) -> None:
    """Refuse a server that answers before what it was given is on disk, and a session without triggers.

    Raises:
        UsageError: it is such a server.
    """
    if await connection.fetchval("SHOW session_replication_role") != "origin":
        raise UsageError("this database user works without triggers: session_replication_role is to be origin")
    for name, good in DURABLE.items():
        found = await connection.fetchval(f"SHOW {name}")
        if found not in good and not may_forget:
            raise UsageError(f"the database server has {name} = {found}, so that it may forget: {MAY_FORGET}")
    if not may_forget:  # a session's own value stays when the server's settings are read again
        await connection.execute(
            "SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false)"
        )


async def migrate(connection: Any, migrations: str) -> None:
    """Make the schema, or bring it to the newest of the named migrations, and check it whole; in one transaction.

    Raises:
        CorruptStore: its tables or rules are not those that the migrations make, or of a newer version.
    """
    scripts = read_scripts(migrations)
    schema = schema_of(migrations)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"{schema} migrations")
        done = await _done(connection, schema, scripts)
        if done == 0:
            await connection.execute(f"CREATE SCHEMA {schema}")
        elif await _shape(connection, schema) != await _shape_after(connection, scripts[:done]):
            raise CorruptStore(f"the tables of {schema} are not those of migration {done}; nothing was changed there")
        await _run(connection, schema, scripts, done)


async def _done(connection: Any, schema: str, scripts: Sequence[str]) -> int:
    """How many migrations were run, each of them the one that is known by this number."""
    if await connection.fetchval("SELECT to_regnamespace($1)", schema) is None:
        return 0
    try:
        async with connection.transaction():
            rows = await connection.fetch(f"SELECT digest FROM {schema}.migrations ORDER BY number")  # noqa: S608 - ours
    except asyncpg.UndefinedTableError as error:
        raise CorruptStore(f"the schema {schema} is not of ours, or damaged: it has no migrations") from error
    if len(rows) > len(scripts):
        raise CorruptStore(f"{schema} is of a newer version: migration {len(rows)}, {len(scripts)} are known")
    for number, (row, script) in enumerate(zip(rows, scripts, strict=False), start=1):
        if row["digest"] != _digest(script):
            raise CorruptStore(f"{schema} is of another version, or damaged: migration {number} is not the one known")
    return len(rows)


async def _run(connection: Any, schema: str, scripts: Sequence[str], done: int) -> None:
    await connection.execute(f"SET LOCAL search_path = {schema}")
    if done == 0:
        await connection.execute("CREATE TABLE migrations (number int PRIMARY KEY, digest bytea NOT NULL)")
    for number, script in enumerate(scripts[done:], start=done + 1):
        await connection.execute(script)
        await connection.execute("INSERT INTO migrations VALUES ($1, $2)", number, _digest(script))


async def _shape(connection: Any, schema: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in await connection.fetch(_SHAPE, schema)]


async def _shape_after(connection: Any, scripts: Sequence[str]) -> list[tuple[str, ...]]:
    """What `scripts` make: made in a schema of its own, looked at, and taken back."""
    schema = f"cloister_check_{secrets.token_hex(8)}"
    made = connection.transaction()
    await made.start()
    try:
        await connection.execute(f"CREATE SCHEMA {schema}")
        await _run(connection, schema, scripts, 0)
        return await _shape(connection, schema)
    finally:
        await made.rollback()


def read_scripts(migrations: str) -> list[str]:
    """The named migrations, the first first."""
    folder = resources.files("cloister.storage").joinpath("migrations", "postgresql", migrations)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in files]


def _digest(script: str) -> bytes:
    return hashlib.sha256(script.encode()).digest()
