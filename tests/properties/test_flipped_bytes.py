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
def lived():
    """What a ledger and its witness had acknowledged: after they ended in good order, and as `kill -9` leaves them."""
    path, killed = Path(tempfile.mkdtemp(dir=MEMORY)), Path(tempfile.mkdtemp(dir=MEMORY))

    async def living():
        async with LedgerLife(path, KEYS) as life:
            for entry in ENTRIES:
                await life.sequencer.append(entry)
            await life.sequencer.renew()  # the last checkpoint is stored behind its answer, and this one before
            shutil.copytree(path, killed, dirs_exist_ok=True)

    asyncio.run(living())
    yield path, killed
    shutil.rmtree(path)
    shutil.rmtree(killed)


@pytest.fixture(scope="module")
def folder(lived):
    return lived[0]


@pytest.fixture(scope="module")
def killed(lived):
    """Nothing of it was moved from the logs into the files yet."""
    return lived[1]


def copied(folder, name, into):
    for path in folder.glob(f"{name}.sqlite*"):
        shutil.copy(path, into)
    return into / f"{name}.sqlite"


def flip(path, position, mask):
    content = bytearray(path.read_bytes())
    used = len(content.rstrip(b"\0"))  # zeros are written ahead of a log
    content[position % used] ^= mask
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
@given(position=positions, mask=masks, suffix=st.sampled_from(["-wal", "-wal-copy"]))
def test_in_the_log_or_its_copy_of_a_ledger_that_was_killed(killed, position, mask, suffix):
    with tempfile.TemporaryDirectory(dir=MEMORY) as here:
        path = copied(killed, "ledger", Path(here))
        flip(path.with_name(f"ledger.sqlite{suffix}"), position, mask)
        assert starts_whole_or_says_why(check_ledger(path))


@EXAMPLES
@given(position=positions, mask=masks, suffix=st.sampled_from(["-wal", "-wal-copy"]))
def test_in_the_log_or_its_copy_of_a_witness_that_was_killed(folder, killed, position, mask, suffix):
    with tempfile.TemporaryDirectory(dir=MEMORY) as here:
        path = copied(killed, "witness0", Path(here))
        flip(path.with_name(f"witness0.sqlite{suffix}"), position, mask)
        assert starts_whole_or_says_why(check_witness(path, remembered(folder)))


def test_without_the_copy_a_flipped_byte_would_take_what_was_acknowledged(killed):
    """The control: SQLite ends a log where a checksum does not hold, and says nothing."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as here:
        path = copied(killed, "ledger", Path(here))
        path.with_name("ledger.sqlite-wal-copy").unlink()
        flip(path.with_name("ledger.sqlite-wal"), 40, 1)
        with pytest.raises((AssertionError, KeyError)):
            asyncio.run(check_ledger(path))


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
