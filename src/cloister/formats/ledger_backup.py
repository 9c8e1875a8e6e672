"""A ledger's backup: one file with all its entries, cosigned checkpoints and blobs (docs/formats/ledger-backup.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

import msgspec

from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.canonical import Count, Digest, PublicKey
from cloister.formats.checkpoint import MAXIMUM_NOTE
from cloister.formats.ledger_messages import MAXIMUM_BLOB
from cloister.formats.statement import MAXIMUM_ENTRY

MAGIC: Final = b"cloister ledger backup 1\n"
MAXIMUM_HEAD: Final = 4096  # bytes, of the first record and of the last


class Kind(Enum):
    """What a record is."""

    HEAD = b"H"
    ENTRY = b"E"
    CHECKPOINT = b"C"
    BLOB = b"B"
    END = b"Z"


_CAPS: Final = {
    Kind.HEAD: MAXIMUM_HEAD,
    Kind.ENTRY: MAXIMUM_ENTRY,
    Kind.CHECKPOINT: MAXIMUM_NOTE,
    Kind.BLOB: MAXIMUM_BLOB,
    Kind.END: MAXIMUM_HEAD,
}
_ORDER: Final = [*Kind]


class BackupHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose backup it is."""

    origin: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    key: PublicKey  # the log's


class BackupEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of each there was, and SHA-256 over all bytes before this record."""

    entries: Count
    checkpoints: Count
    blobs: Count
    digest: Digest


@dataclass(frozen=True, slots=True)
class Record:
    """One record; of its kind's size, and nothing else is checked."""

    kind: Kind
    body: bytes


def encode_record(record: Record) -> bytes:
    """Its kind, the length of its body in four bytes, its body.

    Raises:
        ValueError: the body is over the cap of its kind.
    """
    if len(record.body) > _CAPS[record.kind]:
        raise ValueError(f"a record of {len(record.body)} bytes")
    return record.kind.value + len(record.body).to_bytes(4, "big") + record.body


class BackupWriter:
    """The bytes of a backup, record by record."""

    def __init__(self, write: Callable[[bytes], object], head: BackupHead) -> None:
        self._write = write
        self._digest = hashlib.sha256()
        self._counts = dict.fromkeys(Kind, 0)
        self._put(MAGIC)
        self.add(Kind.HEAD, canonical.encode(head))

    def add(self, kind: Kind, body: bytes) -> None:
        """Write a record; entries come first, then checkpoints, then blobs."""
        self._counts[kind] += 1
        self._put(encode_record(Record(kind, body)))

    def end(self) -> BackupEnd:
        """Write the last record."""
        end = BackupEnd(
            entries=self._counts[Kind.ENTRY],
            checkpoints=self._counts[Kind.CHECKPOINT],
            blobs=self._counts[Kind.BLOB],
            digest=self._digest.digest(),
        )
        self.add(Kind.END, canonical.encode(end))
        return end

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._write(data)


def read_backup(read: Callable[[int], bytes]) -> Iterator[Record]:
    """The records of a backup, without its last, which is held against them; `read` gives up to so many bytes.

    Whoever acts on a record before the end was reached acts on a part of a backup.

    Raises:
        MalformedInput: it is no backup, a part of one, or not as it was written.
    """
    digest = hashlib.sha256()

    def take(size: int) -> bytes:
        data = b""
        while len(data) < size and (more := read(size - len(data))):
            data += more
        if len(data) != size:
            raise MalformedInput("the backup ends before its last record")
        return data

    if take(len(MAGIC)) != MAGIC:
        raise MalformedInput("not a backup of a ledger, or of another version")
    digest.update(MAGIC)
    counts = dict.fromkeys(Kind, 0)
    last = Kind.HEAD
    while True:
        frame = take(5)
        record = _record(frame, take, first=not counts[Kind.HEAD], last=last)
        if record.kind is Kind.END:
            break
        digest.update(frame + record.body)
        counts[record.kind] += 1
        last = record.kind
        yield record
    end = canonical.decode(record.body, BackupEnd, limit=MAXIMUM_HEAD)
    found = (counts[Kind.ENTRY], counts[Kind.CHECKPOINT], counts[Kind.BLOB], digest.digest())
    if found != (end.entries, end.checkpoints, end.blobs, end.digest) or read(1):
        raise MalformedInput("the backup is not as it was written: its last record says otherwise")


def parse_head(record: Record) -> BackupHead:
    """The first record.

    Raises:
        MalformedInput: another.
    """
    if record.kind is not Kind.HEAD:
        raise MalformedInput("a backup begins with its head")
    return canonical.decode(record.body, BackupHead, limit=MAXIMUM_HEAD)


def _record(frame: bytes, take: Callable[[int], bytes], *, first: bool, last: Kind) -> Record:
    try:
        kind = Kind(frame[:1])
    except ValueError as error:
        raise MalformedInput("the backup has a record of no known kind") from error
    if first != (kind is Kind.HEAD) or _ORDER.index(kind) < _ORDER.index(last):
        raise MalformedInput("the records of a backup are not in their order")
    size = int.from_bytes(frame[1:], "big")
    if size > _CAPS[kind]:
        raise MalformedInput(f"the backup has a record of {size} bytes, its cap is {_CAPS[kind]}")
    return Record(kind, take(size))
