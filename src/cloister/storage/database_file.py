"""Opens an SQLite file: takes it for this process, checks it whole, and brings it to the newest migration."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from cloister.errors import CloisterError, Unavailable

TAKEN = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
OF_THE_DISK = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class CorruptStore(CloisterError):
    """What is on disk is not what was written there. The sentence says what was found; nothing was changed."""


def open_file(path: Path, migrations: str) -> sqlite3.Connection:
    """A connection to the file, made (mode 0600) if it is not there, at the newest of the named migrations.

    Raises:
        CorruptStore: it is damaged, or written by a newer version.
        Unavailable: another process has it open, or it cannot be read or written.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, timeout=1.0, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"{path} cannot be opened: {error}") from error
    try:
        _prepare(connection, path)
        _migrate(connection, path, _scripts(migrations))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise _said(path, error) from error
    except UnicodeDecodeError as error:  # of the damaged text that SQLite complains of
        connection.close()
        raise CorruptStore(f"{path} is damaged: it names tables in no UTF-8; nothing was changed in it") from error
    except CorruptStore:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def advising(advice: str) -> Iterator[None]:
    """Add to a `CorruptStore` what is to be done about it: a sentence of the service whose file it is."""
    try:
        yield
    except CorruptStore as error:
        raise CorruptStore(f"{error}. {advice}") from error


def move_log(connection: sqlite3.Connection) -> None:
    """Move what was committed from the write-ahead log into the file itself, synchronised; the log begins anew."""
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()


def _said(path: Path, error: sqlite3.Error) -> CloisterError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code & 0xFF in TAKEN:
        return Unavailable(f"{path} is in use, perhaps by another process of this service: end that one ({error})")
    if code & 0xFF in OF_THE_DISK and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        return Unavailable(f"{path} cannot be used: {error}; look at the disk and at who may write there")
    return CorruptStore(f"{path} is damaged: {error}; nothing was changed in it")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # with each moving of the log; commits are the database's to keep
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA foreign_keys=ON")
    # Takes the lock for good, and reads every page.
    findings = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    if findings != ["ok"]:
        raise CorruptStore(f"{path} is damaged: {'; '.join(findings)}; nothing was changed in it")


def _scripts(migrations: str) -> list[str]:
    folder = resources.files("cloister.storage").joinpath("migrations", "sqlite", migrations)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in files]


def _migrate(connection: sqlite3.Connection, path: Path, scripts: Sequence[str]) -> None:
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    if done > len(scripts):
        raise CorruptStore(f"{path} was written by a newer version: migration {done}, {len(scripts)} are known")
    if done and _schema(connection) != _schema_after(scripts[:done]):
        raise CorruptStore(
            f"{path} is damaged: its tables are not those of migration {done}; nothing was changed in it"
        )
    _run(connection, scripts, done)


def _run(connection: sqlite3.Connection, scripts: Sequence[str], done: int) -> None:
    for number, statements in enumerate(scripts[done:], start=done + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{statements}\nPRAGMA user_version={number};\nCOMMIT;")


def _schema_after(scripts: Sequence[str]) -> list[tuple[str, ...]]:
    """What `scripts` make. The pages of a schema have no checksum: a flipped byte may turn a rule into its opposite."""
    with sqlite3.connect(":memory:", isolation_level=None) as made:
        _run(made, scripts, 0)
        schema = _schema(made)
    made.close()
    return schema


def _schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
