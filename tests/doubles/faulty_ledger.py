"""A ledger whose life ends at a chosen durable step, with witnesses that can be turned off."""

from pathlib import Path

from cloister.crypto.signing import SigningKey
from cloister.errors import Unavailable
from cloister.formats.constitution import Log, Witness
from cloister.ledger.cosignatures import WitnessKeys
from cloister.services.ledger.quorum import Quorum
from cloister.services.ledger.sequencer import Sequencer
from cloister.services.witness.witness import Witnessing
from cloister.storage.database import Database
from cloister.storage.ledger_store import LedgerStore
from cloister.storage.witness_store import WitnessStore

ORIGIN = "log.test/cloister"
COMPARING = ("before the witness is asked what it knows", "after the witness said what it knows")  # once in a life


class Crash(BaseException):
    """The process is gone: nothing catches it, nothing runs after it."""


class Steps:
    """Notes the durable steps of one life of a ledger; the chosen one ends it."""

    def __init__(self, crash_at=None):
        self.crash_at = crash_at
        self.taken = []

    def step(self, name):
        self.taken.append(name)
        if name == self.crash_at:
            raise Crash(name)


class SteppedStore:
    """A store with a step before and after each write."""

    def __init__(self, store, steps):
        self._store = store
        self._steps = steps

    async def load(self, tree=None):
        return await self._store.load(tree)

    async def entries(self, start, end, *, limit):
        return await self._store.entries(start, end, limit=limit)

    async def append(self, entries):
        self._steps.step("before the entries are stored")
        indices = await self._store.append(entries)
        self._steps.step("after the entries are stored")
        return indices

    async def publish(self, checkpoint):
        self._steps.step("before the cosigned checkpoint is stored")
        await self._store.publish(checkpoint)
        self._steps.step("after the cosigned checkpoint is stored")


class SteppedWitness:
    """A witness over its real memory, with a step on the way there and on the way back."""

    def __init__(self, name, key, log, store, steps, *, clock):
        self.witness = Witness(name=name, key=key.public)
        self.down = False
        self._first: tuple[str, str] | None = COMPARING
        self._steps = steps
        self._witnessing = Witnessing(name, WitnessKeys(key), {log.origin: log}, store, clock=clock)

    async def add_checkpoint(self, request):
        if self.down:
            raise Unavailable(f"the witness {self.witness.name} cannot be reached")
        before, after = self._first or ("before the witness is asked", "after the witness has cosigned")
        self._first = None
        self._steps.step(before)
        lines = await self._witnessing.add_checkpoint(request)
        self._steps.step(after)
        return lines


class LedgerLife:
    """One life of a ledger and its witnesses over a folder; open another over the same folder after it."""

    def __init__(self, folder: Path, keys, *, crash_at=None, needed=1, clock=lambda: 1_000, **limits):
        """`limits` are the sequencer's."""
        self._folder = folder
        self._keys = keys
        self.steps = Steps(crash_at)
        self._needed = needed
        self._clock = clock
        self._limits = limits
        self.witnesses: list[SteppedWitness] = []
        self._databases: list[Database] = []

    async def __aenter__(self):
        log_key = self._keys["log"]
        log = Log(origin=ORIGIN, key=log_key.public)
        for name in sorted(self._keys.keys() - {"log"}):
            store = WitnessStore(await self._database(name, "witness"))
            witness = SteppedWitness(f"{name}.test", self._keys[name], log, store, self.steps, clock=self._clock)
            self.witnesses.append(witness)
        self.store = LedgerStore(await self._database("ledger", "ledger"))
        await self.store.claim(ORIGIN, log_key.public)
        self.quorum = Quorum([(witness.witness, witness) for witness in self.witnesses], needed=self._needed)
        stepped = SteppedStore(self.store, self.steps)
        self.sequencer = Sequencer(ORIGIN, log_key, stepped, self.quorum, **self._limits)
        try:
            await self.sequencer.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_raised):
        try:
            await self.sequencer.stop()
        except Crash:
            pass
        finally:
            await self._close()

    async def _database(self, name, migrations):
        database = await Database.open(self._folder / f"{name}.sqlite", migrations=migrations)
        self._databases.append(database)
        return database

    async def _close(self):
        for database in self._databases:
            await database.close()


def make_keys(witnesses=1):
    """A log key and as many witness keys."""
    names = ["log", *(f"witness{number}" for number in range(witnesses))]
    return {name: SigningKey.generate() for name in names}
