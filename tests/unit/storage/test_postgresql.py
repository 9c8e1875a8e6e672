"""PostgreSQL as a service's database: who may have it, what servers are refused, what its faults are called."""

import asyncio
import contextlib
import signal

import pytest
from tests.doubles.databases import LIMITS, Postgres
from tests.doubles.postgresql import running_server

from cloister.errors import Unavailable, UsageError
from cloister.storage.database_file import CorruptStore
from cloister.storage.ledger_store import LedgerStore
from cloister.storage.postgresql.address import parse_address
from cloister.storage.postgresql.database import PostgresDatabase
from cloister.storage.postgresql.session import Limits

KEY = bytes(range(32))


@pytest.fixture
async def opened(postgresql):
    kind = Postgres(postgresql)
    async with contextlib.aclosing(kind):
        yield kind


@pytest.fixture
async def store(opened):
    store = LedgerStore(await opened.open("ledger"))
    await store.claim("log.test", KEY)
    return store


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://cloister:secret@127.0.0.1/log", "has no password in it"),
        ("postgresql://cloister@db.example/log", "over TLS only"),
        ("postgresql://cloister@127.0.0.1,10.0.0.1/log", "over TLS only"),
        ("postgresql://127.0.0.1/log", "is named as"),
        ("postgresql://cloister@127.0.0.1", "is named as"),
        ("postgresql://cloister@127.0.0.1:http/log", "is named as"),
        ("postgresql://cloister@/log", "is named as"),
        ("postgresql://cloister@127.0.0.1/log?sslmode=disable", "is named as"),
        ("postgresql://cloister@/log?host=relative", "is named as"),
        ("mysql://cloister@127.0.0.1/log", "is named as"),
        ("postgresql://[", "is named as"),
    ],
)
def test_a_url_that_says_too_much_or_too_little_is_refused_without_repeating_it(url, sentence):
    with pytest.raises(UsageError, match=sentence) as refused:
        parse_address(url)
    assert "secret" not in str(refused.value)


def test_a_url_names_hosts_user_and_database():
    address = parse_address("postgresql://clo%40ister@localhost:1,127.0.0.1/my%20log")
    assert (address.hosts, address.user, address.database) == (
        (("localhost", 1), ("127.0.0.1", 5432)),
        "clo@ister",
        "my log",
    )
    assert parse_address("postgresql://cloister@[::1]:6/log").hosts == (("::1", 6),)
    assert parse_address("postgresql://cloister@/log?host=/run/postgresql").hosts == (("/run/postgresql", 5432),)


def test_a_password_comes_from_a_file_of_its_owners_and_is_never_printed(tmp_path):
    path = tmp_path / "password"
    path.write_text("canary\n")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="readable by others"):
        parse_address("postgresql://cloister@localhost/log", password=path)
    path.chmod(0o600)
    address = parse_address("postgresql://cloister@localhost/log", password=path)
    assert address.password is not None
    assert address.password.reveal() == b"canary"
    assert "canary" not in f"{address} {address!r}"
    path.write_text("two\nlines\n")
    with pytest.raises(UsageError, match="in one line"):
        parse_address("postgresql://cloister@localhost/log", password=path)


async def test_a_second_process_does_not_get_the_database(opened, store):
    assert await store.append([b"entry"]) == [0]
    with pytest.raises(Unavailable, match="in use by another process"):
        await PostgresDatabase.open(parse_address(opened.url), migrations="ledger", limits=LIMITS)


async def test_a_ledger_and_a_witness_may_share_a_database(opened, store):
    database = await PostgresDatabase.open(parse_address(opened.url), migrations="witness", limits=LIMITS)
    await database.probe()
    await database.close()
    assert await store.append([b"entry"]) == [0]


@pytest.mark.parametrize(("name", "value"), [("synchronous_commit", "off"), ("session_replication_role", "replica")])
async def test_a_session_that_may_forget_or_skips_triggers_is_refused(opened, store, postgresql, name, value):
    await opened.aclose()
    database = opened.url.rpartition("/")[2]
    await postgresql.execute(f"ALTER DATABASE {database} SET {name} = {value}")
    with pytest.raises(UsageError, match=name):
        await opened.open("ledger")


async def test_a_server_that_may_forget_is_used_where_the_setting_says_so(opened, store, postgresql):
    await opened.aclose()
    database = opened.url.rpartition("/")[2]
    await postgresql.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    await opened.open("ledger", may_forget=True)


async def test_a_server_without_fsync_is_refused():
    with running_server(fsync="off") as server, pytest.raises(UsageError, match=r"fsync = off.*unsafe_may_forget"):
        await Postgres(server).open("ledger")


async def test_what_is_acknowledged_is_there_after_a_crash_of_the_server(store, postgresql):
    for number in range(5):
        await store.append([b"entry %d" % number])
    await asyncio.to_thread(postgresql.stop, signal.SIGQUIT)  # no checkpoint, no goodbye
    with pytest.raises(Unavailable, match=r"cannot be|broke the connection"):
        await store.append([b"lost?"])
    with pytest.raises(Unavailable, match="cannot be reached"):
        await store.append([b"lost?"])
    await asyncio.to_thread(postgresql.start)
    assert await store.entries(0, 5, limit=10**6) == [b"entry %d" % number for number in range(5)]
    assert await store.append([b"entry 4", b"next"]) == [4, 5]


async def test_a_server_that_stands_still_costs_each_caller_a_limit_or_two(opened, postgresql):
    store = LedgerStore(await opened.open("ledger", limits=Limits(1, 1, 1)))
    await store.append([b"before"])
    began = asyncio.get_running_loop().time()
    with postgresql.paused():
        answers = await asyncio.gather(
            *(store.append([b"%d" % number]) for number in range(3)),
            *(store.entries(0, 1, limit=1) for _ in range(3)),
            return_exceptions=True,
        )
    assert [type(answer) for answer in answers] == [Unavailable] * 6
    assert asyncio.get_running_loop().time() - began < 30
    assert await store.append([b"before"]) == [0]
    assert await store.entries(0, 1, limit=1) == [b"before"]


async def test_a_server_that_became_a_copy_takes_no_entries_and_keeps_what_it_has(store, postgresql):
    acknowledged = []

    async def append_until_refused():
        for number in range(1000):  # the server reads its settings again a moment after it was told to
            await store.append([b"entry %d" % number])
            acknowledged.append(b"entry %d" % number)
            await asyncio.sleep(0.01)

    await postgresql.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await postgresql.execute("SELECT pg_reload_conf()")
    try:
        with pytest.raises(Unavailable, match="read-only"):
            await append_until_refused()
        with pytest.raises(Unavailable, match="takes no writes: it fails over"):
            await store.append([b"never"])
    finally:
        await postgresql.execute("ALTER SYSTEM RESET ALL")
        await postgresql.execute("SELECT pg_reload_conf()")
    for _ in range(1000):
        with contextlib.suppress(Unavailable):
            assert await store.append([b"after"]) == [len(acknowledged)]
            break
        await asyncio.sleep(0.01)
    assert await store.entries(0, 2000, limit=10**6) == [*acknowledged, b"after"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("53100", "cannot be used: no room"),  # disk_full
        ("53200", "cannot be used"),  # out_of_memory
        ("58030", "cannot be used"),  # io_error
        ("57P01", "cannot be used"),  # admin_shutdown
        ("40001", "cannot be used"),  # serialization_failure
    ],
)
async def test_a_server_that_cannot_write_now_says_so_and_has_nothing_of_it(opened, store, state, said):
    await store.append([b"before"])
    await opened.beside(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '{state}'; END $$",
        "CREATE TRIGGER no_room AFTER INSERT ON entries EXECUTE FUNCTION no_room()",
    )
    with pytest.raises(Unavailable, match=said):
        await store.append([b"entry"])
    assert Unavailable.retry
    await opened.beside("DROP TRIGGER no_room ON entries")
    assert await store.append([b"before", b"entry"]) == [0, 1]


async def test_too_many_connections_are_said_and_pass(postgresql):
    await postgresql.execute("CREATE ROLE guest LOGIN")  # a superuser always gets in
    await postgresql.execute("CREATE DATABASE narrow OWNER guest CONNECTION LIMIT 1")
    address = parse_address(postgresql.url("narrow").replace("cloister@", "guest@"))
    database = await PostgresDatabase.open(address, migrations="ledger", limits=LIMITS)
    try:
        store = LedgerStore(database)
        await store.append([b"entry"])
        with pytest.raises(Unavailable, match="too many connections"):
            await store.entries(0, 1, limit=1)
        await postgresql.execute("ALTER DATABASE narrow CONNECTION LIMIT 9")
        assert await store.entries(0, 1, limit=1) == [b"entry"]
    finally:
        await database.close()


async def test_tables_that_are_not_those_of_the_migrations_are_said_to_be_damaged(opened, store, postgresql):
    await opened.aclose()
    database = opened.url.rpartition("/")[2]
    for change, found in (
        ("ALTER TABLE cloister_ledger.entries DISABLE TRIGGER entries_stay", "not those of migration"),
        ("INSERT INTO cloister_ledger.migrations VALUES (99, '\\x00')", "newer version"),
        ("DELETE FROM cloister_ledger.migrations WHERE number = 99", "not those of migration"),
        ("UPDATE cloister_ledger.migrations SET digest = '\\x00'", "is not the one known"),
        ("DROP TABLE cloister_ledger.migrations", "no migrations"),
    ):
        await postgresql.execute(change, database=database)
        with pytest.raises(CorruptStore, match=found):
            await opened.open("ledger")


async def test_a_wrong_database_or_user_is_told_to_the_operator(opened, postgresql):
    for url in (postgresql.url("absent"), postgresql.url("postgres").replace("cloister@", "stranger@")):
        with pytest.raises(UsageError, match="does not let us in"):
            await PostgresDatabase.open(parse_address(url), migrations="ledger", limits=LIMITS)
