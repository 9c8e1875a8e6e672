"""A ledger's backup as an auditor takes it: the newest checkpoint in it, the entries that covers, and the blobs."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.ledger_backup import Kind, Record, read_backup
from cloister.peers.audited_log import evidence_named_in

AT_ONCE = 256  # entries


def is_backup(place: str) -> bool:
    """Whether a log's place is one file: its static files are a folder or a URL."""
    return Path(place).is_file()


@contextlib.contextmanager
def open_backup(place: str) -> Iterator[AuditedBackup]:
    """The backup at `place`.

    Raises:
        UsageError: it cannot be read, or as `AuditedBackup`.
    """
    path = Path(place)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield AuditedBackup(path, file)


class AuditedBackup:
    """Reads one file, which is open; nothing of it is believed."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        """Finds what is where, by reading all of it once.

        Raises:
            UsageError: it is no backup, or a part of one, or no checkpoint in it was cosigned yet.
        """
        self._file = file
        self._blobs: dict[bytes, tuple[int, int]] = {}  # place and size, by SHA-256
        note = b""
        try:
            for record in _records(file):
                if record.kind is Kind.BLOB:
                    size = len(record.body)
                    self._blobs[hashlib.sha256(record.body).digest()] = (file.tell() - size, size)
                if record.kind is Kind.CHECKPOINT:
                    note = record.body
            self._note, self._size = note, parse_checkpoint(parse_note(note).text).size
        except (MalformedInput, TooLarge) as error:
            said = str(error) if note else f"no checkpoint in it was cosigned, or {error}"
            raise UsageError(f"{path} is neither a log's files nor a ledger's backup: {said}") from error

    async def checkpoint(self) -> tuple[bytes, int]:
        """The newest note, and how many entries it says that there are."""
        return self._note, self._size

    async def bundles(self, size: int, *, since: int) -> AsyncIterator[tuple[tuple[bytes, ...], dict[bytes, bytes]]]:
        """The first `size` entries, some at once, each time with the evidence that those from `since` on name."""
        entries = (record.body for record in _records(self._file) if record.kind is Kind.ENTRY)
        first = 0
        while bundle := tuple(itertools.islice(entries, min(AT_ONCE, size - first))):
            place = self._file.tell()
            yield bundle, self._evidence(evidence_named_in(bundle[max(0, since - first) :]))
            self._file.seek(place)
            first += len(bundle)

    def _evidence(self, digests: list[bytes]) -> dict[bytes, bytes]:
        kept = {}
        for digest in digests:
            if digest in self._blobs:
                place, size = self._blobs[digest]
                self._file.seek(place)
                kept[digest] = self._file.read(size)
        return kept


def _records(file: BinaryIO) -> Iterator[Record]:
    file.seek(0)
    return read_backup(file.read)
