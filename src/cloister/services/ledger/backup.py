"""Makes a ledger's backup while it runs, and restores one into an empty database; each is verified first."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from cloister.errors import UsageError
from cloister.formats.constitution import Log
from cloister.formats.ledger_backup import BackupHead, BackupWriter, Kind, Record, read_backup
from cloister.formats.ledger_messages import MAXIMUM_BLOB
from cloister.hosting.database_settings import SQLITE
from cloister.ledger.backup import VerifiedBackup, verify_backup
from cloister.ledger.log_rules import LogRules
from cloister.ledger.statements import open_statement
from cloister.services.ledger.settings import LedgerSettings
from cloister.services.ledger.witnesses import named_witnesses
from cloister.storage.blobs import BlobStore
from cloister.storage.database import Database
from cloister.storage.database_file import CorruptStore
from cloister.storage.key_file import read_signing_key
from cloister.storage.ledger_copy import copy_in, copy_out
from cloister.storage.ledger_store import LedgerStore
from cloister.storage.log_copy import copy_living
from cloister.storage.opening import open_database, open_shared
from cloister.storage.transaction import Transactions

Closable = TypeVar("Closable", bound=Transactions)

ATTEMPTS = 5  # at a copy of a file that is written meanwhile


async def make_backup(settings: LedgerSettings, path: Path) -> VerifiedBackup:
    """Write a backup to a new file, mode 0600, and verify what was written; the ledger may run.

    Raises:
        UsageError: the file is there, or there is no log.
        CorruptStore, BadBackup: what is stored is damaged, or not what its witnesses cosigned. No backup is left.
        Unavailable: the database cannot be read.
    """
    _require_new(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            await _write(settings, file, path.parent)
            file.flush()
            os.fsync(file.fileno())
        verified = verify(settings, partial)
        os.link(partial, path)  # fails where there is one by now
    finally:
        partial.unlink(missing_ok=True)
    return verified


def verify(settings: LedgerSettings, path: Path) -> VerifiedBackup:
    """Examine a backup by the log's key and witnesses that the settings name. Raises as `verify_backup`."""
    key = read_signing_key(settings.key)
    witnesses = tuple(witness for witness, _ in named_witnesses(settings))
    rules = LogRules(Log(origin=settings.origin, key=key.public), witnesses, settings.quorum)
    with _opened(path) as records:
        return verify_backup(records, rules, open_statement)


async def restore_backup(settings: LedgerSettings, path: Path) -> VerifiedBackup:
    """Write a backup into the database that the settings name, once all of it is verified.

    Raises:
        UsageError: the database has a log.
        BadBackup, MalformedInput: the backup does not hold; nothing was restored.
        Unavailable: the database is in use, or failed.
    """
    verified = verify(settings, path)
    if settings.database.url != SQLITE:
        async with _closing(await open_shared(settings.database, service="ledger")) as database:
            with _opened(path) as records:
                await database.write(lambda: copy_in(records, blob_rows=True), by_any=True)
        return verified
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    blobs = BlobStore(settings.folder / "blobs", maximum=MAXIMUM_BLOB, capacity=settings.blobs_bytes)
    async with _closing(await open_database(settings.database, settings.folder, service="ledger")) as database:
        with _opened(path) as records:
            await database.write(lambda: copy_in(_storing(records, blobs), blob_rows=False))
    return verified


def _storing(records: Iterator[Record], blobs: BlobStore) -> Iterator[Record]:
    """The records, of which blobs go into files as they pass by."""
    for record in records:
        if record.kind is Kind.BLOB:
            blobs.put(record.body)
        else:
            yield record


async def _write(settings: LedgerSettings, file: BinaryIO, beside: Path) -> None:
    writers: list[BackupWriter] = []

    def begin(head: BackupHead) -> BackupWriter:
        file.seek(0)
        file.truncate()
        writers.append(BackupWriter(file.write, head))
        return writers[-1]

    if settings.database.url == SQLITE:
        await _from_file(settings, begin, beside)
        for blob in _blob_files(settings.folder / "blobs"):  # after the entries: those that they name are all there
            writers[-1].add(Kind.BLOB, blob)
    else:
        async with _closing(await open_shared(settings.database, service="ledger")) as database:
            await database.read(lambda: copy_out(lambda head: begin(head).add, blob_rows=True))
    writers[-1].end()


async def _from_file(settings: LedgerSettings, begin: Callable[[BackupHead], BackupWriter], beside: Path) -> None:
    """From a copy of the file and its log: the ledger has its own locked, and what it acknowledged is in the two.

    A copy that was made amid a transaction is found out by its pages, digests and roots, and made again.
    """
    store = settings.folder / "ledger.sqlite"
    for attempt in range(ATTEMPTS):
        with tempfile.TemporaryDirectory(dir=beside, prefix=".backup-") as folder:
            try:
                await _from_copy(_copy(store, Path(folder)), begin)
            except CorruptStore:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return


async def _from_copy(copy: Path, begin: Callable[[BackupHead], BackupWriter]) -> None:
    async with _closing(await Database.open(copy, migrations="ledger")) as database:
        await LedgerStore(database).load()
        await database.read(lambda: copy_out(lambda head: begin(head).add, blob_rows=False))


def _copy(store: Path, folder: Path) -> Path:
    try:
        copy = copy_living(store, folder)
    except FileNotFoundError as error:
        raise UsageError(f"there is no {store}: the ledger of these settings has not run yet") from error
    if copy is None:
        raise CorruptStore(f"{store} was written too busily to be copied as it is at one moment")
    return copy


def _require_new(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} is there: a backup is never replaced by another")


def _blob_files(folder: Path) -> Iterator[bytes]:
    for file in sorted(folder.glob("?" * 64)):
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != file.name:
            raise CorruptStore(f"the blob {file.name} is damaged on disk")
        yield data


@contextlib.asynccontextmanager
async def _closing(database: Closable) -> AsyncIterator[Closable]:
    try:
        yield database
    finally:
        await database.close()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Iterator[Record]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"the backup {path} cannot be read: {error.strerror}") from error
    with file:
        yield read_backup(file.read)
