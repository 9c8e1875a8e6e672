"""The ledger's store against a model of it, on both databases, while the host puts back copies and changes rows."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.doubles.crashes import MEMORY
from tests.doubles.databases import Postgres, Sqlite

from cloister.crypto.merkle import GrowingTree, leaf_hash, root
from cloister.storage.database_file import CorruptStore
from cloister.storage.ledger_store import LedgerStore, LostEntries, StoredCheckpoint

KEY = bytes(range(32))
EXAMPLES = int(os.environ.get("STORE_EXAMPLES", "3"))  # lives on a server; five times as many in a file
entries = st.lists(st.integers(0, 30).map(lambda number: b"entry %d" % number * (number % 3 + 1)), max_size=8)


class Stores(RuleBasedStateMachine):
    """`log` and `notes` are what the database has; `known` is what the running process has seen there."""

    server: ClassVar[Any] = None  # None: SQLite
    store_kind: ClassVar[type[LedgerStore]] = LedgerStore

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.host: Sqlite | Postgres = Sqlite(self.folder) if self.server is None else Postgres(self.server)
        self.log: list[bytes] = []
        self.notes: dict[int, bytes] = {}
        self.copies: list[tuple[Any, list[bytes], dict[int, bytes]]] = []
        self.tree: GrowingTree | None = None
        self.count = 0
        self._begin(self.runner.run(self.host.open("ledger")))

    def _begin(self, database) -> None:
        """A process starts over the database."""
        self.store = self.store_kind(database)
        self.known, self.tree = 0, None
        self.runner.run(self.store.claim("log.test", KEY))

    def root(self, size):
        return root([leaf_hash(entry) for entry in self.log[:size]])

    @property
    def database(self):
        assert self.host._open is not None
        return self.host._open

    @property
    def lost(self):
        return len(self.log) < self.known

    @rule(batch=entries)
    def append(self, batch):
        if self.lost:
            with pytest.raises(LostEntries):
                self.runner.run(self.store.append(batch))
            return
        indices = self.runner.run(self.store.append(batch))
        for entry in batch:
            if entry not in self.log:
                self.log.append(entry)
        assert indices == [self.log.index(entry) for entry in batch]
        self.known = len(self.log)

    @rule(batch=entries)
    def append_with_one_that_cannot_be(self, batch):
        with pytest.raises(CorruptStore):
            self.runner.run(self.store.append([*batch, b""]))

    @rule(back=st.integers(0, 5))
    def publish(self, back):
        size = max(len(self.log) - back, 0)
        self.count += 1
        note = b"note %d" % self.count
        self.runner.run(self.store.publish(StoredCheckpoint(size, self.root(size), note)))
        self.notes[size] = note

    @precondition(lambda self: self.notes)
    @rule(number=st.integers(0, 9))
    def publish_another_root(self, number):
        size = sorted(self.notes)[number % len(self.notes)]
        with pytest.raises(CorruptStore, match="never two roots"):
            self.runner.run(self.store.publish(StoredCheckpoint(size, b"x" * 32, b"note")))

    @rule(start=st.integers(0, 9), end=st.integers(0, 20), limit=st.integers(0, 60))
    def read(self, start, end, limit):
        found = self.runner.run(self.store.entries(start, end, limit=limit))
        expected = self.log[start:end]
        assert found == expected[: len(found)]
        assert bool(found) == bool(expected)
        fits = sum(map(len, found)) <= limit
        assert fits or len(found) == 1
        if len(found) < len(expected):
            assert sum(map(len, expected[: len(found) + 1])) > limit

    @rule(again=st.booleans())
    def load(self, again):
        """All of it, or what is new since the last time."""
        tree = self.tree if again else None
        if self.lost:
            with pytest.raises(LostEntries):
                self.runner.run(self.store.load(tree))
            self.tree = None
            return
        stored = self.runner.run(self.store.load(tree))
        size = len(self.log)
        assert (stored.tree.size, stored.tree.root(size)) == (size, self.root(size))
        newest = max(self.notes, default=None)
        expected = None if newest is None else StoredCheckpoint(newest, self.root(newest), self.notes[newest])
        assert stored.newest == expected
        self.known, self.tree = size, stored.tree

    @rule()
    def the_process_starts_again(self):
        self._begin(self.runner.run(self.host.open("ledger")))

    @precondition(lambda self: len(self.copies) < 3)
    @rule()
    def the_host_keeps_a_copy(self):
        copy = self.runner.run(self.host.keep())
        self.copies.append((copy, list(self.log), dict(self.notes)))
        self._begin(self.runner.run(self.host.open("ledger")))

    @precondition(lambda self: self.copies)
    @rule(number=st.integers(0, 2))
    def the_host_puts_a_copy_back(self, number):
        self._begin(self._put_back(number))

    @precondition(lambda self: self.copies)
    @rule(number=st.integers(0, 2), batch=entries)
    def the_host_puts_a_copy_back_and_the_process_goes_on(self, number, batch):
        """As a failover to a copy that lags behind does."""
        self.store._database = self._put_back(number)
        self.tree = None
        self.append(batch)

    def _put_back(self, number):
        copy, log, notes = self.copies[number % len(self.copies)]
        self.log, self.notes = list(log), dict(notes)
        return self.runner.run(self.host.restore(copy))

    @precondition(lambda self: self.log)
    @rule(number=st.integers(0, 30))
    def the_host_changes_an_entry_and_takes_it_back(self, number):
        at = number % len(self.log)
        self.runner.run(self.host.as_host(f"UPDATE entries SET entry = digest WHERE number = {at}"))
        with pytest.raises(CorruptStore, match=f"entry {at} is not what was written"):
            self.runner.run(self.store_kind(self.database).load())
        entry = self.log[at].hex()
        literal = f"'\\x{entry}'" if self.server else f"x'{entry}'"
        self._begin(self.runner.run(self.host.as_host(f"UPDATE entries SET entry = {literal} WHERE number = {at}")))

    @invariant()
    def the_database_has_what_the_model_has(self):
        assert self.runner.run(LedgerStore(self.database).load()).tree.size == len(self.log)

    def teardown(self):
        self.runner.run(self.host.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)


def held(machine, examples, *, steps=20):
    """Hold a machine's stores against the model in so many lives."""
    search = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(machine, settings=search)


def test_the_store_in_a_file_is_the_model_s():
    held(Stores, EXAMPLES * 5)


def test_the_store_on_a_server_is_the_model_s(postgresql):
    class OnServer(Stores):
        server = postgresql

    held(OnServer, EXAMPLES, steps=12)


class NumbersAnew(LedgerStore):
    """Gives the same bytes another index."""

    async def append(self, entries):
        indices = await super().append(entries)
        return [self._size - 1 for _ in indices]


class ForgetsWhatItSaw(LedgerStore):
    """Goes on where entries are gone."""

    async def append(self, entries):
        self._size = 0
        return await super().append(entries)


@pytest.mark.parametrize("bug", [NumbersAnew, ForgetsWhatItSaw])
def test_the_machine_finds_a_planted_bug(bug):
    class Planted(Stores):
        store_kind = bug

    with pytest.raises(BaseException, match=r"assert|DID NOT RAISE"):
        held(Planted, 100)
