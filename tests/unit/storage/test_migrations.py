"""Databases of every earlier version, with rows in them, are brought to the newest and lose nothing."""

import asyncio
import contextlib
import hashlib
import sqlite3

import pytest
from tests.doubles.databases import LIMITS

from cloister.crypto.merkle import leaf_hash, root
from cloister.ledger.witness_rules import TreeHead
from cloister.storage.database import Database
from cloister.storage.database_file import _run as run_sqlite
from cloister.storage.database_file import _scripts as sqlite_scripts
from cloister.storage.leadership import Leadership
from cloister.storage.ledger_store import LedgerStore, StoredCheckpoint
from cloister.storage.postgresql.address import parse_address
from cloister.storage.postgresql.database import PostgresDatabase
from cloister.storage.postgresql.schema import _run as run_postgresql
from cloister.storage.postgresql.schema import read_scripts, schema_of
from cloister.storage.witness_store import WitnessStore

ENTRIES = [b"entry %d" % number for number in range(4)]
ROOT = root([leaf_hash(entry) for entry in ENTRIES])
NEWEST = StoredCheckpoint(4, ROOT, b"note")
HEAD = TreeHead(7, b"r" * 32)
KEY = b"k" * 32

# What was released stays as it is: databases were made by it. The first eight hexadecimal digits of SHA-256.
RELEASED = {
    ("sqlite", "ledger"): ["c7b5eac5", "56764263"],
    ("sqlite", "witness"): ["1868db09", "ecb5b3de"],
    ("postgresql", "ledger"): ["b6f6216d", "86e1e795", "e6a67a39"],
    ("postgresql", "witness"): ["f0fc9d31"],
}


def scripts(kind, name):
    return sqlite_scripts(name) if kind == "sqlite" else read_scripts(name)


@pytest.mark.parametrize(("kind", "name"), RELEASED)
def test_no_migration_that_was_released_has_changed(kind, name):
    digests = [hashlib.sha256(script.encode()).hexdigest()[:8] for script in scripts(kind, name)]
    assert digests[: len(RELEASED[kind, name])] == RELEASED[kind, name]


def rows(name, digests):
    """What a service of that version had stored; `digests` says whether it had digests of notes and heads."""
    if name == "witness":
        digest = [hashlib.sha256(b"log.test\x007\x00" + HEAD.root).digest()] if digests else []
        return [("heads", ("log.test", HEAD.size, HEAD.root, *digest))]
    entries = [("entries", (number, hashlib.sha256(entry).digest(), entry)) for number, entry in enumerate(ENTRIES)]
    digest = [hashlib.sha256(b"note").digest()] if digests else []
    return [("identity", (1, "log.test", KEY)), *entries, ("checkpoints", (4, ROOT, b"note", *digest))]


async def has_everything(database, name):
    if name == "witness":
        store = WitnessStore(database)
        await store.check()
        assert await store.head("log.test") == HEAD
        assert await store.advance("log.test", lambda head: TreeHead(head.size + 1, b"n" * 32)) == TreeHead(
            8, b"n" * 32
        )
        return
    ledger = LedgerStore(database)
    await ledger.claim("log.test", KEY)
    stored = await ledger.load()
    assert (stored.tree.size, stored.tree.root(4), stored.newest) == (4, ROOT, NEWEST)
    assert await ledger.append([ENTRIES[2], b"next"]) == [2, 4]
    await ledger.publish(StoredCheckpoint(4, ROOT, b"cosigned again"))
    assert (await ledger.load()).newest == StoredCheckpoint(4, ROOT, b"cosigned again")


@pytest.mark.parametrize(
    ("name", "version"),
    [(name, version) for name in ("ledger", "witness") for version in range(1, len(sqlite_scripts(name)) + 1)],
)
async def test_a_file_of_each_version(tmp_path, name, version):
    path = tmp_path / f"{name}.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        run_sqlite(connection, sqlite_scripts(name)[:version], 0)
        for table, values in rows(name, digests=version >= 2):
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", values)
    for _ in range(2):  # the second finds nothing to do
        database = await Database.open(path, migrations=name)
        found = await database.run(lambda connection: connection.execute("PRAGMA user_version").fetchone())
        assert found == (len(sqlite_scripts(name)),)
        await database.close()
    database = await Database.open(path, migrations=name)
    await has_everything(database, name)
    await database.close()


@pytest.mark.parametrize(
    ("name", "version"),
    [(name, version) for name in ("ledger", "witness") for version in range(1, len(read_scripts(name)) + 1)],
)
async def test_a_server_s_database_of_each_version(postgresql, name, version):
    at = await postgresql.new_database()
    connection = await postgresql.connect(at)
    async with connection.transaction():
        await connection.execute(f"CREATE SCHEMA {schema_of(name)}")
        await run_postgresql(connection, schema_of(name), read_scripts(name)[:version], 0)
        for table, values in rows(name, digests=True):
            marks = ", ".join(f"${number + 1}" for number in range(len(values)))
            await connection.execute(f"INSERT INTO {table} VALUES ({marks})", *values)
    await connection.close()
    shared = name == "ledger"
    address = parse_address(postgresql.url(at))
    database = await PostgresDatabase.open(address, migrations=name, limits=LIMITS, shared=shared)
    if shared:
        assert await Leadership(database, url="http://a.test", seconds=600).stand()
    await has_everything(database, name)
    await database.close()
    ((done,),) = await postgresql.execute(
        f"SELECT count(*) FROM {schema_of(name)}.migrations WHERE number > $1", 0, database=at
    )
    assert done == len(read_scripts(name))


async def test_several_that_start_at_once_make_the_tables_once(postgresql):
    address = parse_address(postgresql.url(await postgresql.new_database()))
    opening = (PostgresDatabase.open(address, migrations="ledger", limits=LIMITS, shared=True) for _ in range(3))
    for database in await asyncio.gather(*opening):
        assert (await LedgerStore(database).load()).tree.size == 0
        await database.close()
