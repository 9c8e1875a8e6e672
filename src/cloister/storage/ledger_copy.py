"""A ledger's whole store, read in one state of its database, and written into an empty one of either kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from cloister.errors import UsageError
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.ledger_backup import BackupHead, Kind, Record, parse_head
from cloister.storage.database_file import CorruptStore
from cloister.storage.ledger_store import ENTRY_TYPES
from cloister.storage.transaction import Each, Insert, Query, Row, Steps

CHECKPOINT_TYPES = ("bigint", "bytea", "bytea", "bytea")  # size, root, note, digest
BLOB_TYPES = ("bytea", "bytea")  # digest, data
AT_ONCE = {Kind.ENTRY: 256, Kind.CHECKPOINT: 256, Kind.BLOB: 1}  # rows of a statement

Add = Callable[[Kind, bytes], None]


def copy_out(begin: Callable[[BackupHead], Add], *, blob_rows: bool) -> Steps[None]:
    """Give all rows to what `begin` returns, entries first; blobs only where the database has them.

    Raises:
        UsageError: the database has no log.
        CorruptStore: a row is not what was written.
    """
    identity = yield Query("SELECT origin, key FROM identity")
    if not identity:
        raise UsageError("there is no log in this database yet")
    add = begin(BackupHead(origin=identity[0][0], key=identity[0][1]))
    yield Each("SELECT digest, entry FROM entries ORDER BY number", (), lambda row: _out(add, Kind.ENTRY, row))
    yield Each("SELECT digest, note FROM checkpoints ORDER BY size", (), lambda row: _out(add, Kind.CHECKPOINT, row))
    if blob_rows:
        for (digest,) in (yield Query("SELECT digest FROM blobs ORDER BY digest")):
            for row in (yield Query("SELECT digest, data FROM blobs WHERE digest = ?", (digest,))):
                _out(add, Kind.BLOB, row)


def _out(add: Add, kind: Kind, row: Row) -> bool:
    """Of the checkpoints, those from before there were digests of notes come without one: their signatures tell."""
    digest, body = row
    if digest is not None and hashlib.sha256(body).digest() != digest:
        raise CorruptStore("a row of the database is not what was written: its digest is another")
    add(kind, body)
    return True


def copy_in(records: Iterator[Record], *, blob_rows: bool) -> Steps[None]:
    """Write a backup that was verified into an empty database: the whole of it, or nothing.

    Raises:
        UsageError: the database has a log.
        MalformedInput: as `formats.ledger_backup.read_backup`.
    """
    if (yield Query("SELECT 1 FROM identity")) or (yield Query("SELECT 1 FROM entries LIMIT 1")):
        raise UsageError("there is a log in this database: a backup is restored into an empty one, never over a log")
    head = parse_head(next(records))
    yield Query("INSERT INTO identity VALUES (1, ?, ?)", (head.origin, head.key))
    number = used = 0
    for kind, bodies in _runs(records):
        if kind is Kind.ENTRY:
            rows = [(number + at, hashlib.sha256(body).digest(), body) for at, body in enumerate(bodies)]
            number += len(rows)
            yield Insert("entries", ENTRY_TYPES, rows)
        elif kind is Kind.CHECKPOINT:
            yield Insert("checkpoints", CHECKPOINT_TYPES, [_checkpoint(body) for body in bodies])
        elif blob_rows:
            used += sum(map(len, bodies))
            yield Insert("blobs", BLOB_TYPES, [(hashlib.sha256(body).digest(), body) for body in bodies])
    if blob_rows:
        yield Query("UPDATE blob_bytes SET used = ?", (used,))


def _runs(records: Iterator[Record]) -> Iterator[tuple[Kind, Sequence[bytes]]]:
    first = next(records, None)
    while first is not None:
        kind, bodies = first.kind, [first.body]
        first = None
        for record in islice(records, AT_ONCE[kind]):
            if record.kind is not kind:
                first = record
                break
            bodies.append(record.body)
        else:
            first = next(records, None)
        yield kind, bodies


def _checkpoint(note: bytes) -> Row:
    checkpoint = parse_checkpoint(parse_note(note).text)
    return checkpoint.size, checkpoint.root, note, hashlib.sha256(note).digest()
