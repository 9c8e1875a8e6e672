"""The ledger's store: the same behaviour on every database."""

import contextlib

import pytest
from tests.doubles.databases import Postgres, Sqlite

from cloister.crypto.merkle import leaf_hash, root
from cloister.storage.database_file import CorruptStore
from cloister.storage.ledger_store import LedgerStore, LostEntries, StoredCheckpoint
from cloister.storage.transaction import Query

ENTRIES = [b"entry %d" % number for number in range(5)]
KEY = bytes(range(32))


def root_of(entries):
    return root([leaf_hash(entry) for entry in entries])


@pytest.fixture(params=["sqlite", "postgresql"])
async def opened(request, tmp_path):
    """Opens one database of the ledger's, and again; and runs SQL there as the host can."""
    kind = Sqlite(tmp_path) if request.param == "sqlite" else Postgres(request.getfixturevalue("postgresql"))
    async with contextlib.aclosing(kind):
        yield kind


@pytest.fixture
async def database(opened):
    return await opened.open("ledger")


@pytest.fixture
async def store(database):
    store = LedgerStore(database)
    await store.claim("log.test", KEY)
    return store


async def test_entries_get_numbers_in_their_order_and_the_same_bytes_keep_theirs(store):
    assert await store.append(ENTRIES[:3]) == [0, 1, 2]
    assert await store.append([b"new", ENTRIES[1], b"new", b"newer"]) == [3, 1, 3, 4]
    assert await store.append([]) == []
    assert await store.entries(0, 9, limit=10**6) == [*ENTRIES[:3], b"new", b"newer"]


async def test_what_is_loaded_is_the_tree_of_all_entries_and_the_newest_checkpoint(store, database):
    assert (await store.load()).newest is None
    await store.append(ENTRIES)
    for size in (0, 3, 5):
        await store.publish(StoredCheckpoint(size, root_of(ENTRIES[:size]), b"note of %d" % size))
    for reader in (store, LedgerStore(database)):
        stored = await reader.load()
        assert (stored.tree.size, stored.tree.root(5)) == (5, root_of(ENTRIES))
        assert stored.newest == StoredCheckpoint(5, root_of(ENTRIES), b"note of 5")


async def test_a_note_is_replaced_by_a_newer_one_of_its_root_and_never_by_one_of_another(store):
    await store.append(ENTRIES)
    await store.publish(StoredCheckpoint(5, root_of(ENTRIES), b"first"))
    await store.publish(StoredCheckpoint(5, root_of(ENTRIES), b"second"))
    with pytest.raises(CorruptStore, match="never two roots at one size"):
        await store.publish(StoredCheckpoint(5, bytes(32), b"third"))
    assert (await store.load()).newest == StoredCheckpoint(5, root_of(ENTRIES), b"second")


async def test_a_page_ends_before_its_limit_and_has_one_entry_at_least(store):
    await store.append(ENTRIES)
    assert await store.entries(1, 4, limit=15) == ENTRIES[1:3]
    assert await store.entries(1, 4, limit=0) == ENTRIES[1:2]
    assert await store.entries(5, 9, limit=100) == []


async def test_a_log_keeps_its_name_and_key(store, database):
    await LedgerStore(database).claim("log.test", KEY)
    for origin, key in [("other.test", KEY), ("log.test", bytes(32))]:
        with pytest.raises(CorruptStore, match=r"is of the log log\.test"):
            await LedgerStore(database).claim(origin, key)


async def test_entries_that_are_gone_while_the_log_is_in_use_are_missed(store, opened):
    await store.append(ENTRIES)
    store._database = await opened.as_host("DELETE FROM entries WHERE number = 4")
    with pytest.raises(LostEntries, match="has 4 entries and had 5"):
        await store.append([b"another history"])
    with pytest.raises(LostEntries):
        await store.load()
    assert (await LedgerStore(store._database).load()).tree.size == 4  # nothing was added


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("UPDATE entries SET entry = digest WHERE number = 1", "entry 1 is not what was written"),
        ("DELETE FROM entries WHERE number = 1", "entry 1 is missing"),
        ("DELETE FROM entries WHERE number = 4", "of 5 entries was cosigned, but only 4"),
        ("UPDATE checkpoints SET root = digest", "the checkpoint of 5 entries has the root"),
        ("UPDATE checkpoints SET note = root", "the note of 5 entries is damaged"),
    ],
)
async def test_what_the_host_changed_is_named_when_it_is_read(store, opened, sql, found):
    await store.append(ENTRIES)
    await store.publish(StoredCheckpoint(5, root_of(ENTRIES), b"note"))
    database = await opened.as_host(sql)
    with pytest.raises(CorruptStore, match=found):
        await LedgerStore(database).load()


@pytest.mark.parametrize(
    ("sql", "refused"),
    [
        ("UPDATE entries SET entry = digest", "entries are never changed"),
        ("DELETE FROM entries", "entries are never removed"),
        ("INSERT INTO entries SELECT number, digest, entry FROM entries", "(?i)unique"),
        ("INSERT INTO identity SELECT 2, origin, key FROM identity", "(?i)check"),
        ("UPDATE checkpoints SET root = digest", "never two roots at one size"),
    ],
)
async def test_rules_of_the_database_itself_forbid_what_the_log_never_does(store, database, sql, refused):
    await store.append(ENTRIES)
    await store.publish(StoredCheckpoint(5, root_of(ENTRIES), b"note"))

    def breaking():
        yield Query(sql)

    with pytest.raises(CorruptStore, match=refused):
        await database.write(breaking)
    stored = await store.load()
    assert (stored.tree.size, stored.newest) == (5, StoredCheckpoint(5, root_of(ENTRIES), b"note"))


async def test_a_batch_that_fails_amid_it_leaves_nothing(store):
    with pytest.raises(CorruptStore):
        await store.append([b"good", b""])  # an entry has a byte at least
    assert (await store.load()).tree.size == 0
    assert await store.append([b"good"]) == [0]


async def test_large_batches_and_pages_come_back_as_they_went_in(store):
    entries = [b"%d:" % number + bytes(number % 300) for number in range(1500)]
    assert await store.append(entries) == list(range(1500))
    assert await store.entries(0, 1500, limit=10**9) == entries
    assert (await store.load()).tree.root(1500) == root_of(entries)


async def test_a_probe_finds_the_database_in_good_health(database):
    await database.probe()
    await database.probe()
