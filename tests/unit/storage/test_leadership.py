"""Several front ends on one database: one leads, and an older term never writes again."""

import asyncio
import contextlib

import pytest
from tests.doubles.databases import LIMITS, Postgres

from cloister.errors import Unavailable
from cloister.storage.blob_rows import BlobRows
from cloister.storage.blobs import FullStore
from cloister.storage.database_file import CorruptStore
from cloister.storage.leadership import Leadership
from cloister.storage.ledger_store import LedgerStore, StoredCheckpoint
from cloister.storage.postgresql.address import parse_address
from cloister.storage.postgresql.database import PostgresDatabase
from cloister.storage.transaction import Deposed, Query

KEY = bytes(range(32))
SECONDS = 600


class FrontEnd:
    """The storage of one front end."""

    def __init__(self, database, name):
        self.database, self.name = database, name
        self.store = LedgerStore(database)
        self.leadership = Leadership(database, url=f"http://{name}.test", seconds=SECONDS)
        self.blobs = BlobRows(database, maximum=100, capacity=250)


@pytest.fixture
async def front_ends(postgresql):
    """Opens front ends of one log; the first makes its tables."""
    kind = Postgres(postgresql)
    await kind.open("ledger", shared=True)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(kind.aclose)

        async def front_end(name):
            address = parse_address(kind.url)
            database = await PostgresDatabase.open(address, migrations="ledger", limits=LIMITS, shared=True)
            stack.push_async_callback(database.close)
            found = FrontEnd(database, name)
            await found.store.claim("log.test", KEY)
            return found

        front_end.database = kind.url.rpartition("/")[2]  # type: ignore[attr-defined]
        yield front_end


@pytest.fixture
async def lapse(front_ends, postgresql):
    """The leader's time passes."""

    async def lapsing():
        until = "UPDATE cloister_ledger.leadership SET until = clock_timestamp() - interval '1 second'"
        await postgresql.execute(until, database=front_ends.database)

    return lapsing


@pytest.fixture
async def two(front_ends):
    return await front_ends("a"), await front_ends("b")


async def test_one_leads_and_the_other_reads_what_it_wrote(two):
    a, b = two
    assert [await a.leadership.stand(), await b.leadership.stand()] == [True, False]
    assert (await b.leadership.leader()).url == "http://a.test"
    assert await a.store.append([b"entry"]) == [0]
    assert await b.store.entries(0, 1, limit=10) == [b"entry"]
    assert (await b.store.load()).tree.size == 1
    for front_end in two:
        await front_end.database.probe()


async def test_who_does_not_lead_writes_nothing(two):
    a, b = two
    for refused in (a.store.append([b"entry"]), b.store.publish(StoredCheckpoint(0, bytes(32), b"note"))):
        with pytest.raises(Deposed, match="does not lead"):
            await refused
    await a.leadership.stand()
    with pytest.raises(Deposed):
        await b.store.append([b"entry"])
    assert Deposed.retry
    assert (await a.store.load()).tree.size == 0


async def test_writing_keeps_the_term_and_silence_ends_it(two, lapse):
    a, b = two
    await a.leadership.stand()
    for number in range(4):
        await lapse()
        await (a.store.append([b"%d" % number]) if number % 2 else a.leadership.renew())
        assert not await b.leadership.stand()
    await lapse()
    assert await b.leadership.stand()
    assert await b.store.append([b"next"]) == [2]


async def test_a_leader_that_was_replaced_is_told_at_its_next_write_and_ever_after(two, lapse):
    a, b = two
    await a.leadership.stand()
    await lapse()
    await b.leadership.stand()
    for write in (a.store.append, a.store.append):
        with pytest.raises(Deposed):
            await write([b"late"])
    with pytest.raises(Deposed):
        await a.leadership.renew()
    assert (await b.store.load()).tree.size == 0
    assert (await a.leadership.leader()).term == 2


async def test_a_term_that_is_over_still_holds_while_nobody_took_over(two, lapse):
    a, _ = two
    await a.leadership.stand()
    await lapse()
    assert await a.store.append([b"entry"]) == [0]


async def test_who_resigns_is_followed_at_once(two):
    a, b = two
    await a.leadership.stand()
    await a.leadership.resign()
    assert await b.leadership.stand()
    with pytest.raises(Deposed):
        await a.store.append([b"late"])


async def test_of_all_that_stand_at_once_one_leads(front_ends, lapse):
    several = [await front_ends(f"f{number}") for number in range(4)]
    for _ in range(3):
        stood = await asyncio.gather(*(one.leadership.stand() for one in several), return_exceptions=True)
        assert [answer for answer in stood if answer is True] == [True]
        assert all(answer is False or answer is True or isinstance(answer, Unavailable) for answer in stood)
        wrote = await asyncio.gather(*(one.store.append([b"entry"]) for one in several), return_exceptions=True)
        assert sorted(str(type(answer)) for answer in wrote) == sorted([str(list), *([str(Deposed)] * 3)])
        await lapse()


async def test_a_leader_that_stands_still_amid_a_transaction_loses_it_whole(two, lapse):
    a, b = two
    await a.leadership.stand()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def standing_still():
        """As the process does that gets SIGSTOP when its entries were sent and not its commit."""
        session, play = a.database._writer, a.database._writer._play

        async def paused(connection, work):
            value = await play(connection, work)
            reached.set()
            await go_on.wait()
            return value

        session._play = paused
        return await a.store.append([b"half"])

    await lapse()
    appending = asyncio.create_task(standing_still())  # what it did to its term is in that transaction
    await reached.wait()
    assert await b.leadership.stand()
    assert await b.store.append([b"whole"]) == [0]
    go_on.set()
    with pytest.raises(Unavailable):
        await appending
    assert await b.store.entries(0, 9, limit=100) == [b"whole"]


async def test_the_database_itself_lets_no_term_fall(two):
    a, _ = two
    await a.leadership.stand()

    def falling():
        yield Query("UPDATE leadership SET term = 0")

    with pytest.raises(CorruptStore, match="terms never fall"):
        await a.database.write(falling)


async def test_blobs_are_stored_once_by_any_front_end_and_counted(two):
    a, b = two
    digests = [await one.blobs.put(b"x" * 100) for one in (a, b)]
    assert digests[0] == digests[1]
    assert await b.blobs.get(digests[0]) == b"x" * 100
    assert await a.blobs.get(bytes(32)) is None
    assert await a.blobs.get(await b.blobs.put(b"")) == b""
    await b.blobs.put(b"y" * 100)
    with pytest.raises(FullStore):
        await a.blobs.put(b"z" * 100)
    assert await a.blobs.put(b"z" * 50)


async def test_what_was_loaded_before_is_not_read_again_and_what_came_since_is_held_against_its_root(two):
    a, b = two
    await a.leadership.stand()
    await a.store.append([b"0", b"1"])
    tree = (await a.store.load()).tree
    await a.store.publish(StoredCheckpoint(2, tree.root(2), b"first"))
    followed = await b.store.load()
    await a.store.append([b"2"])
    stored = await b.store.load(followed.tree)
    assert stored.tree is followed.tree
    assert (stored.tree.size, stored.newest) == (3, StoredCheckpoint(2, tree.root(2), b"first"))
    await a.store.publish(StoredCheckpoint(3, bytes(32), b"another history"))
    with pytest.raises(CorruptStore, match="of 3 entries has the root"):
        await b.store.load(followed.tree)
