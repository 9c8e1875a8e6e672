"""The write-ahead log, kept twice."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.crashes import MEMORY, torn

from cloister.errors import Unavailable
from cloister.storage import log_copy
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore
from cloister.storage.log_copy import LogCopy, copy_living

LOG, COPY = "x.sqlite-wal", "x.sqlite-wal-copy"


async def opened(folder):
    folder.mkdir(exist_ok=True)
    return await Database.open(folder / "x.sqlite", migrations="witness")


async def remember(database, origin, size=1):
    sql = "INSERT INTO heads VALUES (?, ?, zeroblob(32), zeroblob(32))"
    await database.run(lambda connection: connection.execute(sql, (origin, size)))


def killed(folder, into):
    """The files as `kill -9` would leave them now."""
    shutil.copytree(folder, into)
    return into


async def remembered_in(folder):
    database = await opened(folder)
    try:
        rows = await database.run(lambda connection: connection.execute("SELECT origin FROM heads").fetchall())
    finally:
        await database.close()
    return sorted(origin for (origin,) in rows)


@pytest.fixture
async def left(tmp_path):
    """Three transactions, none of them in the file, and the process is gone."""
    database = await opened(tmp_path / "living")
    for size, origin in enumerate("abc", start=1):
        await remember(database, origin, size)
    folder = killed(tmp_path / "living", tmp_path / "left")
    await database.close()
    return folder


async def test_what_was_answered_is_there_after_the_process_was_killed(left):
    assert await remembered_in(left) == ["a", "b", "c"]


@pytest.mark.parametrize("name", [LOG, COPY])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
async def test_it_is_there_when_either_file_lost_its_end(left, name, share):
    content = (left / name).read_bytes()
    used = len(content.rstrip(b"\0"))
    (left / name).write_bytes(content[: int(used * share)])
    assert await remembered_in(left) == ["a", "b", "c"]


async def test_it_is_there_when_the_copy_is_gone(left):
    (left / COPY).unlink()
    assert await remembered_in(left) == ["a", "b", "c"]


@pytest.mark.parametrize("emptied", [False, True])
async def test_where_the_log_is_gone_nothing_is_forgotten_in_silence(left, emptied):
    log = (left / LOG).read_bytes()
    (left / LOG).write_bytes(b"") if emptied else (left / LOG).unlink()
    with pytest.raises(CorruptStore, match="is gone, and its copy says"):
        await opened(left)
    (left / LOG).write_bytes(log)
    assert await remembered_in(left) == ["a", "b", "c"]


@given(content=st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: log_copy.MAGIC + data))
def test_whatever_stands_in_the_copy_the_log_stays_as_it_is_unless_a_record_is_whole(content):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        log = LogCopy.of(Path(folder) / "x.sqlite")
        log.log.write_bytes(b"log")
        log.copy.write_bytes(content)
        log.mend()
        log.close()
        assert log.log.read_bytes() == b"log"
        assert log.copy.read_bytes() == b""


async def test_a_copy_of_before_the_log_began_anew_is_left_alone(tmp_path):
    database = await opened(tmp_path / "living")
    await remember(database, "a")
    before = (tmp_path / "living" / COPY).read_bytes()
    await asyncio.get_running_loop().run_in_executor(database._thread, database._move)
    await remember(database, "b", 2)
    left = killed(tmp_path / "living", tmp_path / "left")
    await database.close()
    (left / COPY).write_bytes(before)  # as a power cut may leave it, before the first transaction is on disk
    assert await remembered_in(left) == ["a", "b"]


async def test_the_log_is_moved_into_the_file_when_it_is_long_and_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(log_copy, "FULL", 64 * 1024)
    database = await opened(tmp_path / "living")
    for size in range(1, 100):
        await remember(database, f"origin {size}" * 100, size)
    assert (tmp_path / "living" / LOG).stat().st_size < 2 * log_copy.RESERVE
    assert (tmp_path / "living" / "x.sqlite").read_bytes().count(b"origin 3origin 3") > 0
    left = killed(tmp_path / "living", tmp_path / "left")
    await database.close()
    assert len(await remembered_in(left)) == 99


async def test_transactions_that_wait_together_are_synchronised_together(tmp_path, monkeypatch):
    synchronised = []
    database = await opened(tmp_path / "living")
    synchronise = LogCopy.synchronise

    def counted(log):
        synchronised.append(1)
        synchronise(log)

    monkeypatch.setattr(LogCopy, "synchronise", counted)
    await asyncio.gather(*(remember(database, f"origin {size}", size) for size in range(1, 51)))
    assert len(synchronised) < 25
    left = killed(tmp_path / "living", tmp_path / "left")
    await database.close()
    assert len(await remembered_in(left)) == 50


@pytest.mark.parametrize("call", ["fdatasync", "pwrite"])
async def test_a_disk_that_fails_is_unavailable_and_what_follows_is_kept(tmp_path, monkeypatch, call):
    database = await opened(tmp_path / "living")
    await remember(database, "a")

    def failing(*_given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(Unavailable, match=r"cannot be used: No space left"):
            await remember(database, "b", 2)
    await remember(database, "c", 3)
    left = killed(tmp_path / "living", tmp_path / "left")
    await database.close()
    assert {"a", "c"} <= {*await remembered_in(left)}


async def test_a_living_database_is_copied_with_its_log_and_not_where_that_begins_anew_meanwhile(tmp_path, monkeypatch):
    living, into = tmp_path / "living", tmp_path / "into"
    into.mkdir()
    database = await opened(living)
    await remember(database, "a")
    assert copy_living(living / "x.sqlite", into) == into / "x.sqlite"
    copyfile = shutil.copyfile

    def moved_meanwhile(source, target):
        copied = copyfile(source, target)
        if source.name == "x.sqlite":
            database._move()
            database._connection.execute("INSERT INTO heads VALUES ('b', 2, zeroblob(32), zeroblob(32))")
        return copied

    monkeypatch.setattr(shutil, "copyfile", moved_meanwhile)
    assert copy_living(living / "x.sqlite", into) is None
    monkeypatch.undo()
    assert copy_living(living / "x.sqlite", into) is not None
    await database.close()
    assert await remembered_in(into) == ["a", "b"]


async def test_a_second_process_is_refused_before_it_touches_the_log(tmp_path):
    database = await opened(tmp_path)
    with pytest.raises(Unavailable, match="in use by another process"):
        LogCopy.of(tmp_path / "x.sqlite").mend()
    await database.close()


def test_the_double_of_a_power_cut_keeps_the_share_that_it_is_told():
    synced, written = b"a" * 1024, b"b" * 2048
    assert torn(synced, written, 0.0) == synced
    assert torn(synced, written, 0.5) == written[:1024]
    assert torn(synced, written, 1.0) == written
