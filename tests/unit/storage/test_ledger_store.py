"""The ledger's store: the same behaviour on every database."""

import pytest

from cloister.crypto.merkle import leaf_hash, root
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore
from cloister.storage.ledger_store import LedgerStore, LostEntries, StoredCheckpoint

ENTRIES = [b"entry %d" % number for number in range(5)]
KEY = bytes(range(32))


def root_of(entries):
    return root([leaf_hash(entry) for entry in entries])


@pytest.fixture
async def database(tmp_path):
    database = await Database.open(tmp_path / "ledger.sqlite", migrations="ledger")
    yield database
    await database.close()


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


async def test_entries_that_are_gone_while_the_log_is_in_use_are_missed(store, database):
    await store.append(ENTRIES)
    await database.run(
        lambda connection: [
            connection.execute(sql) for sql in ("DROP TRIGGER entries_remain", "DELETE FROM entries WHERE number = 4")
        ]
    )
    with pytest.raises(LostEntries, match="has 4 entries and had 5"):
        await store.append([b"another history"])
    with pytest.raises(LostEntries):
        await store.load()
    assert (await LedgerStore(database).load()).tree.size == 4  # nothing was added
