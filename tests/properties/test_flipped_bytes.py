"""A byte of a database flips while nothing runs: what starts afterwards has everything, or says what it found."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.doubles.crashes import MEMORY
from tests.doubles.faulty_ledger import ORIGIN, LedgerLife, make_keys

from cloister.errors import Unavailable
from cloister.ledger.witness_rules import TreeHead
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore, open_file
from cloister.storage.ledger_store import LedgerStore
from cloister.storage.witness_store import WitnessStore

KEYS = make_keys()
ENTRIES = [b"entry %d " % number * 40 for number in range(9)]
HEADER = 100  # bytes that SQLite's file begins with
EXAMPLES = settings(max_examples=int(os.environ.get("FLIP_EXAMPLES", "150")), deadline=None)


@pytest.fixture(scope="module")
def folder():
    """A ledger and its witness that ended in good order, and what they had acknowledged."""
    path = Path(tempfile.mkdtemp(dir=MEMORY))

    async def lived():
        async with LedgerLife(path, KEYS) as life:
            for entry in ENTRIES:
                await life.sequencer.append(entry)

    asyncio.run(lived())
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def killed(folder):
    """The same, killed after one more entry was committed and before it was answered: its log is not empty."""
    path = Path(tempfile.mkdtemp(dir=MEMORY))
    connection = open_file(copied(folder, "ledger", path), "ledger")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO entries SELECT 9, randomblob(32), zeroblob(3000)")
    connection.execute("ROLLBACK")
    connection.execute("INSERT INTO checkpoints (size, root, note) SELECT 0, zeroblob(32), x''")
    image = Path(tempfile.mkdtemp(dir=MEMORY))
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        shutil.copy(path / name, image)
    connection.close()
    assert (image / "ledger.sqlite-wal").stat().st_size > 0
    yield image
    shutil.rmtree(path)
    shutil.rmtree(image)


def copied(folder, name, into):
    for path in folder.glob(f"{name}.sqlite*"):
        shutil.copy(path, into)
    return into / f"{name}.sqlite"


def flip(path, position, mask):
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= mask
    path.write_bytes(content)


async def check_ledger(path):
    """All that was acknowledged is there, or `CorruptStore` or `Unavailable` says why nothing is served."""
    database = await Database.open(path, migrations="ledger")
    try:
        store = LedgerStore(database)
        await store.claim(ORIGIN, KEYS["log"].public)
        stored = await store.load()
        assert stored.tree.size == len(ENTRIES)
        assert await store.entries(0, len(ENTRIES), limit=10**6) == ENTRIES
        assert stored.newest is not None
        assert stored.newest.size == len(ENTRIES)
    finally:
        await database.close()


async def check_witness(path, remembered):
    database = await Database.open(path, migrations="witness")
    try:
        store = WitnessStore(database)
        await store.check()
        assert await store.head(ORIGIN) == remembered
    finally:
        await database.close()


def starts_whole_or_says_why(check):
    """Whether it started."""
    try:
        asyncio.run(check)
    except (CorruptStore, Unavailable):
        return False
    return True


def remembered(folder):
    connection = sqlite3.connect(folder / "witness0.sqlite")
    row = connection.execute("SELECT size, root FROM heads").fetchone()
    connection.close()
    return TreeHead(*row)


positions = st.integers(0, HEADER) | st.integers(0, 2**20)
masks = st.integers(0, 7).map(lambda bit: 1 << bit) | st.just(0xFF)


@EXAMPLES
@given(position=positions, mask=masks)
def test_in_the_ledgers_file(folder, position, mask):
    with tempfile.TemporaryDirectory(dir=MEMORY) as here:
        path = copied(folder, "ledger", Path(here))
        flip(path, position, mask)
        starts_whole_or_says_why(check_ledger(path))


@EXAMPLES
@given(position=positions, mask=masks)
def test_in_the_witnesss_file(folder, position, mask):
    with tempfile.TemporaryDirectory(dir=MEMORY) as here:
        path = copied(folder, "witness0", Path(here))
        flip(path, position, mask)
        starts_whole_or_says_why(check_witness(path, remembered(folder)))


@EXAMPLES
@given(position=positions, mask=masks)
def test_in_the_write_ahead_log_of_a_ledger_that_was_killed(killed, position, mask):
    with tempfile.TemporaryDirectory(dir=MEMORY) as here:
        path = copied(killed, "ledger", Path(here))
        flip(path.with_name("ledger.sqlite-wal"), position, mask)
        starts_whole_or_says_why(check_ledger(path))


def test_the_check_would_tell(folder):
    """The control: without the flip everything starts, and what is missing is missed."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as here:
        path = copied(folder, "ledger", Path(here))
        assert starts_whole_or_says_why(check_ledger(path))
        assert starts_whole_or_says_why(check_witness(copied(folder, "witness0", Path(here)), remembered(folder)))
        connection = open_file(path, "ledger")
        connection.executescript(
            "DROP TRIGGER entries_remain; DELETE FROM entries WHERE number = 8; DELETE FROM checkpoints WHERE size = 9"
        )
        triggers = "CREATE TRIGGER entries_remain BEFORE DELETE ON entries"
        connection.executescript(f"{triggers}\nBEGIN SELECT RAISE(ABORT, 'entries are never removed'); END")
        connection.close()
        with pytest.raises(AssertionError):
            starts_whole_or_says_why(check_ledger(path))


@pytest.mark.parametrize(
    ("mark", "found"),
    [
        (ENTRIES[4][:20], "entry 4 is not what was written"),
        (b"never removed", "its tables are not those of migration"),
        (b"SQLite format 3", "is not a database"),
        (ORIGIN.encode(), "is of the log|the note of"),
    ],
)
def test_what_was_found_is_said(folder, mark, found):
    with tempfile.TemporaryDirectory(dir=MEMORY) as here:
        path = copied(folder, "ledger", Path(here))
        flip(path, path.read_bytes().index(mark) + 3, 0x01)
        with pytest.raises(CorruptStore, match=found):
            asyncio.run(check_ledger(path))
