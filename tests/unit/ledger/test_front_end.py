"""Several front ends of one ledger: one numbers entries, the others pass them on, and whoever is left goes on."""

import asyncio
import contextlib

import pytest
from tests.doubles.databases import LIMITS, Postgres
from tests.doubles.faulty_ledger import ORIGIN, SteppedWitness, Steps, make_keys

from cloister.crypto.merkle import check_inclusion, leaf_hash
from cloister.errors import Unavailable, UsageError
from cloister.formats.constitution import Log
from cloister.formats.ledger_messages import Appended
from cloister.ledger.checkpoints import examine_checkpoint
from cloister.services.ledger.front_end import FrontEnd
from cloister.services.ledger.quorum import Quorum, RolledBack, Unwitnessed
from cloister.storage.database import Database
from cloister.storage.leadership import Leadership
from cloister.storage.ledger_store import LedgerStore
from cloister.storage.postgresql.address import parse_address
from cloister.storage.postgresql.database import PostgresDatabase
from cloister.storage.transaction import Deposed
from cloister.storage.witness_store import WitnessStore

SECONDS = 600  # nobody's time passes by itself


class PassedOn:
    """What one front end sends to another, without HTTP between them."""

    def __init__(self, front_end):
        self._front_end = front_end

    async def append(self, entry):
        return await self._front_end.append(entry)

    async def append_all(self, entries):
        placed = await self._front_end.append_all(entries)
        return [
            Appended(index=index, checkpoint=placed.checkpoint.note, path=path)
            for index, path in zip(placed.indices, placed.paths, strict=True)
        ]

    async def renew_checkpoint(self):
        return await self._front_end.renew()


class Crew:
    """Front ends of one log, its database, and one witness."""

    def __init__(self, server, stack):
        self.keys = make_keys()
        self.database = Postgres(server)
        self._server, self._stack = server, stack
        self._by_url: dict[str, FrontEnd] = {}

    async def begin(self, folder):
        await self.database.open("ledger", shared=True)
        await self.database.aclose()
        memory = await Database.open(folder / "witness.sqlite", migrations="witness")
        self._stack.push_async_callback(memory.close)
        log = Log(origin=ORIGIN, key=self.keys["log"].public)
        self.witness = SteppedWitness(
            "witness0.test", self.keys["witness0"], log, WitnessStore(memory), Steps(), clock=lambda: 1_000
        )

    async def front_end(self, name, *, url=None):
        """One that takes part in the election; `url` is of another database than the crew's."""
        address = parse_address(url or self.database.url)
        database = await PostgresDatabase.open(address, migrations="ledger", limits=LIMITS, shared=True)
        self._stack.push_async_callback(database.close)
        store = LedgerStore(database)
        await store.claim(ORIGIN, self.keys["log"].public)
        terms = Leadership(database, url=f"http://{name}.test", seconds=SECONDS)
        quorum = Quorum([(self.witness.witness, self.witness)], needed=1)
        front_end = FrontEnd(ORIGIN, self.keys["log"], store, quorum, terms=terms, reach=self._reach)
        await front_end.enter(seconds=SECONDS)
        self._stack.push_async_callback(front_end.leave)
        self._by_url[terms.url] = front_end
        return front_end

    @contextlib.asynccontextmanager
    async def _reach(self, url):
        yield PassedOn(self._by_url[url])

    async def lapse(self):
        """The leader's time passes."""
        until = "UPDATE cloister_ledger.leadership SET until = clock_timestamp() - interval '1 second'"
        await self._server.execute(until, database=self.database.url.rpartition("/")[2])

    def check(self, entry, appended):
        """The answer to an append proves itself."""
        log = Log(origin=ORIGIN, key=self.keys["log"].public)
        examination = examine_checkpoint(appended.checkpoint, log=log, witnesses=[self.witness.witness], quorum=1)
        checkpoint = examination.require()
        check_inclusion(leaf_hash(entry), appended.index, checkpoint.size, appended.path, checkpoint.root)


@pytest.fixture
async def crew(postgresql, tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        crew = Crew(postgresql, stack)
        await crew.begin(tmp_path)
        yield crew


@pytest.fixture
async def two(crew):
    return await crew.front_end("a"), await crew.front_end("b")


async def test_either_takes_entries_and_either_shows_all_that_was_acknowledged(crew, two):
    for number in range(6):
        front_end, other = two[number % 2], two[1 - number % 2]
        entry = b"entry %d" % number
        appended = await front_end.append(entry)
        assert appended.index == number
        crew.check(entry, appended)
        await other.fresh()
        assert other.cosigned.size == number + 1
        assert await other.entries(number, number + 1, limit=100) == [entry]
    placed = await two[1].append_all([b"entry 2", b"more", b"and more"])
    assert placed.indices == (2, 6, 7)
    assert (await two[1].append_all([])).indices == ()
    await two[1].fresh()
    assert [front_end.inclusion(6, 8) for front_end in two] == [placed.paths[1]] * 2
    assert await two[1].renew() == two[0].cosigned.note


async def test_when_the_leader_is_gone_another_goes_on_with_the_same_log(crew, two):
    a, b = two
    await a.append(b"acknowledged")
    crew.witness.down = True
    with pytest.raises(Unwitnessed):
        await a.append(b"stored and not acknowledged")
    crew.witness.down = False
    await crew.lapse()
    await b._election.take_turn()
    assert (await b.append(b"next")).index == 2
    assert (await b.append(b"stored and not acknowledged")).index == 1
    assert (await b.append(b"acknowledged")).index == 0


async def test_a_leader_that_was_replaced_unawares_writes_nothing_and_then_passes_on(crew, two):
    a, b = two
    await a.append(b"first")
    await crew.lapse()
    await b._election.take_turn()
    with pytest.raises(Deposed):
        await a.append(b"second")
    await a._election.take_turn()
    assert (await a.append(b"second")).index == 1
    assert (await b.append(b"second")).index == 1
    assert a.missing() == b.missing() == []


async def test_who_leaves_in_good_order_is_followed_at_once(crew, two):
    a, b = two
    await a.append(b"first")
    await a.leave()
    await b._election.take_turn()
    assert (await b.append(b"second")).index == 1


async def test_while_nobody_leads_it_is_said_and_passes(crew, two):
    a, b = two
    await a.append(b"first")
    await crew.lapse()
    a._election.leads = False  # it is gone, and b has not noticed
    with pytest.raises(Unavailable, match="no front end of this ledger leads at the moment"):
        await b.append(b"second")
    await b.fresh()
    assert b.cosigned.size == 1
    await b._election.take_turn()
    assert (await b.append(b"second")).index == 1


async def test_each_takes_part_by_itself_and_a_database_that_fails_is_named(crew, two, postgresql):
    a, b = two
    a._election._pause = b._election._pause = 0.05
    await asyncio.to_thread(postgresql.stop)
    try:
        with pytest.raises(Unavailable):
            await b._election.take_turn()
        for _ in range(2):
            await asyncio.wait([b._election._ticking], timeout=0.01)
        b._election._ticking.cancel()
        b._election._ticking = asyncio.create_task(b._election._tick())
        while not b._election.trouble:  # noqa: ASYNC110 - it is its own timer that is waited for
            await asyncio.sleep(0.02)
        assert "a front end that leads: the database" in b.missing()[0]
        with pytest.raises(Unavailable):
            await b.append(b"entry")
    finally:
        await asyncio.to_thread(postgresql.start)
    while b.missing()[:1] and "leads" in b.missing()[0]:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert (await b.append(b"entry")).index == 0


async def test_two_that_both_lead_on_two_copies_of_the_database_are_stopped_by_the_witness(crew):
    """The host breaks the election as it likes: a copy of the disk, a network between them cut in two."""
    a = await crew.front_end("a")
    await a.append(b"common")
    await a.leave()
    await a._store._database.close()
    copy = await crew.database._server.new_database(template=crew.database.url.rpartition("/")[2])
    a = await crew.front_end("a")
    b = await crew.front_end("b", url=crew.database._server.url(copy))
    assert a._election.leads
    assert b._election.leads
    assert (await b.append(b"of one history")).index == 1
    for entry in (b"of the other", b"and more of it"):
        with pytest.raises(Unwitnessed, match=r"cosigned 2 entries of this log, 1 are here|witness\.fork|continue"):
            await a.append(entry)
    assert a.cosigned.size == 1
    with pytest.raises(UsageError):
        await a.entries(1, 2, limit=100)
    assert (await b.append(b"goes on")).index == 2


async def test_a_database_put_back_to_an_earlier_state_is_refused_before_anything_is_signed(crew):
    a = await crew.front_end("a")
    await a.append(b"first")
    await a.leave()
    await a._store._database.close()
    kept = await crew.database._server.new_database(template=crew.database.url.rpartition("/")[2])
    a = await crew.front_end("a")
    await a.append(b"second")
    await a.leave()
    again = await crew.front_end("a", url=crew.database._server.url(kept))
    for attempt in (again.append(b"another second"), again.renew(), again.append_all([b"more", b"and more"])):
        with pytest.raises(RolledBack, match="cosigned 2 entries of this log, 1 are here"):
            await attempt
    assert (await again._store.load()).tree.size == 1
