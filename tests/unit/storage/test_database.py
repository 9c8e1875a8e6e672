"""SQLite files as services keep them."""

import asyncio
import sqlite3
import stat
import subprocess
import sys

import pytest

from cloister.errors import Unavailable
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore


async def opened(path, migrations="witness"):
    return await Database.open(path, migrations=migrations)


async def test_a_new_file_is_its_owners_only_and_survives_being_closed(tmp_path):
    path = tmp_path / "x.sqlite"
    database = await opened(path)
    await database.run(
        lambda connection: connection.execute("INSERT INTO heads (origin, size, root) VALUES ('a', 1, zeroblob(32))")
    )
    await database.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    database = await opened(path)
    assert await database.run(lambda connection: connection.execute("SELECT size FROM heads").fetchall()) == [(1,)]
    await database.close()


async def test_writes_wait_for_the_disk_and_take_no_second_process(tmp_path):
    path = tmp_path / "x.sqlite"
    database = await opened(path)

    def pragmas(connection):
        names = ("journal_mode", "synchronous", "locking_mode")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await database.run(pragmas) == ["wal", 1, "exclusive"]  # NORMAL: the log's synchronisation is the database's
    script = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0.1).execute('SELECT * FROM heads')"
    other = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=30
    )
    assert "locked" in other.stderr
    with pytest.raises(Unavailable, match="another process"):
        await opened(path)
    await database.close()


async def test_an_action_that_raises_leaves_nothing(tmp_path):
    database = await opened(tmp_path / "x.sqlite")

    def action(connection):
        connection.execute("INSERT INTO heads (origin, size, root) VALUES ('a', 1, zeroblob(32))")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.run(action)
    assert await database.run(lambda connection: connection.execute("SELECT * FROM heads").fetchall()) == []
    await database.close()


async def test_a_constraint_is_told_from_a_disk_that_fails(tmp_path):
    database = await opened(tmp_path / "x.sqlite")
    with pytest.raises(CorruptStore, match="CHECK"):
        await database.run(
            lambda connection: connection.execute(
                "INSERT INTO heads (origin, size, root) VALUES ('a', -1, zeroblob(32))"
            )
        )
    with pytest.raises(Unavailable, match="no such table"):
        await database.run(lambda connection: connection.execute("SELECT * FROM absent"))
    await database.close()


async def test_a_full_disk_is_unavailable_and_leaves_the_database_as_it_was(tmp_path):
    database = await opened(tmp_path / "x.sqlite", "ledger")

    def fill(connection):
        connection.execute("PRAGMA max_page_count = 20")
        for number in range(100):
            connection.execute("INSERT INTO entries VALUES (?, randomblob(32), zeroblob(60000))", (number,))

    with pytest.raises(Unavailable, match="full"):
        await database.run(fill)
    assert await database.run(lambda connection: connection.execute("SELECT * FROM entries").fetchall()) == []
    await database.close()


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_what_is_no_database_is_said_to_be_damaged(tmp_path, content):
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    with pytest.raises(CorruptStore, match="damaged"):
        await opened(path)
    assert path.read_bytes() == content


async def test_a_database_with_a_torn_page_is_said_to_be_damaged(tmp_path):
    path = tmp_path / "x.sqlite"
    database = await opened(path, "ledger")
    await database.run(
        lambda connection: [
            connection.execute("INSERT INTO entries VALUES (?, randomblob(32), randomblob(3000))", (number,))
            for number in range(50)
        ]
    )
    await database.close()
    content = bytearray(path.read_bytes())
    content[-20_000:-8_000] = bytes(12_000)
    path.write_bytes(content)
    with pytest.raises(CorruptStore, match="damaged"):
        await opened(path, "ledger")


async def test_a_database_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "x.sqlite"
    await (await opened(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CorruptStore, match="newer version"):
        await opened(path)


async def test_a_folder_that_is_not_there_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match="cannot be opened"):
        await opened(tmp_path / "none" / "x.sqlite")


INSERT = "INSERT INTO heads (origin, size, root) VALUES ('marked', 1, zeroblob(32))"


async def test_what_was_committed_stands_in_the_log_and_in_its_copy_until_the_file_is_closed(tmp_path):
    path = tmp_path / "x.sqlite"
    log, copy = path.with_name("x.sqlite-wal"), path.with_name("x.sqlite-wal-copy")
    database = await opened(path)
    await database.run(lambda connection: connection.execute(INSERT))
    assert b"marked" in log.read_bytes()
    assert b"marked" in copy.read_bytes()
    assert b"marked" not in path.read_bytes()
    await database.close()
    assert b"marked" in path.read_bytes()
    assert not log.exists()
    assert copy.read_bytes() == b""


async def test_a_probe_writes_to_the_disk(tmp_path):
    log = tmp_path / "x.sqlite-wal"
    database = await opened(tmp_path / "x.sqlite")
    before = log.read_bytes()
    await database.probe()
    assert log.read_bytes() != before
    await database.close()


async def test_a_probe_says_what_stands_against_writing(tmp_path):
    database = await opened(tmp_path / "x.sqlite")
    await database.run(lambda connection: connection.execute("PRAGMA query_only=ON"))
    with pytest.raises(Unavailable, match="cannot be used: attempt to write a readonly database"):
        await database.probe()
    await database.close()
