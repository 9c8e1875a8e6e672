"""SQLite's write-ahead log, kept twice until it is in the file itself, so that no flipped byte can end it unseen.

SQLite takes its log to end where a checksum does not hold, and says nothing: right after a power cut, wrong after a
byte flipped in what was acknowledged (decision 0013). So whatever was committed is written to a second file as well,
both are synchronised at the same time, and at the start the copy mends the log before SQLite reads it. Two damages at
once, one in each, are needed before anything is missed. What is in one of them alone was never acknowledged.

The copy is a run of records, each: MAGIC, the log's salts, where in the log its bytes stand, how many, SHA-256 over
these and the bytes; then the bytes. SQLite begins the log anew with other salts (sqlite.org/fileformat2.html, 4.1).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cloister.errors import Unavailable
from cloister.storage.database_file import CorruptStore

MAGIC = b"wal2"
_HEAD = struct.Struct(">4s8sQQ")  # magic, salts, position, length
_DIGEST = 32
_LOG_HEADER, _FRAME_HEADER = 32, 24
_PAGE_SIZE, _SALTS = slice(8, 12), slice(16, 24)

FULL = 16 * 1024 * 1024  # bytes; a longer log is moved into the file
AHEAD, RESERVE = 256 * 1024, 1024 * 1024  # with less room than this, so many more bytes are made ready


@dataclass(slots=True)
class LogCopy:
    """The log of one database, which is this process's alone, and its copy."""

    log: Path
    copy: Path
    reserve: int = RESERVE  # bytes written ahead: a synchronised write over them changes no file's size
    _copy_file: int = -1
    _log_file: int = -1
    _salts: bytes = b""  # of the log as it is
    _moved: bytes = b""  # of the log that was moved last
    _end: int = 0  # of what was committed, in the log
    _copy_end: int = 0
    _room: int = 0  # bytes that both files have
    _aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "synchronises"))

    @classmethod
    def of(cls, database: Path, *, reserve: int = RESERVE) -> Self:
        """The log of this database; nothing is opened yet."""
        return cls(database.with_name(f"{database.name}-wal"), database.with_name(f"{database.name}-wal-copy"), reserve)

    def mend(self) -> None:
        """Take the copy for this process, and mend the log from it; before SQLite opens the database.

        The copy is empty then: it has to be whenever the log may vanish, or it would bring back what came before.

        Raises:
            CorruptStore: the log is gone, and held what may not be in the file.
            Unavailable: another process has it, or it cannot be read or written.
        """
        try:
            self._copy_file = os.open(self.copy, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._copy_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _mend(self.log, self.copy.read_bytes())
            self.empty()
            _synchronise_folder(self.copy.parent)
        except BlockingIOError as error:
            self.close()
            raise Unavailable(f"{self.copy} is in use by another process of this service: end that one") from error
        except CorruptStore:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise Unavailable(f"{self.copy} cannot be opened: {error.strerror}") from error

    def begin(self) -> None:
        """SQLite has the database open: follow its log.

        Raises:
            Unavailable: the log cannot be opened.
        """
        try:
            self._log_file = os.open(self.log, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(f"{self.log} cannot be opened: {error.strerror}") from error

    def moved(self) -> None:
        """All of the log is in the file: SQLite begins it anew with its next transaction."""
        self._moved = self._salts

    def empty(self) -> None:
        """Have nothing in the copy.

        Raises:
            OSError: the disk failed.
        """
        os.ftruncate(self._copy_file, 0)
        os.fdatasync(self._copy_file)

    def keep(self) -> None:
        """Have all that was committed on disk, twice.

        Raises:
            OSError: the disk failed or is full; what was committed may be there or not until the log was moved.
        """
        if self._note():
            self.synchronise()

    def synchronise(self) -> None:
        """Both files, at the same time."""
        copied = self._aside.submit(os.fdatasync, self._copy_file)
        os.fdatasync(self._log_file)
        copied.result()

    @property
    def untidy(self) -> bool:
        """Whether there is anything to do before long."""
        return self.full or self._is_cramped()

    @property
    def full(self) -> bool:
        """Whether it is time to move the log into the file."""
        return self._end > FULL and self._moved != self._salts

    def make_room(self) -> None:
        """Where little is left, write zeros ahead: SQLite reads a log as far as its frames go.

        Raises:
            OSError: as `keep`.
        """
        if self._is_cramped():
            files = (self._log_file, self._copy_file)
            for file in files:
                os.pwrite(file, bytes(self.reserve), os.fstat(file).st_size)
            self._room = min(os.fstat(file).st_size for file in files)
            self.synchronise()

    def close(self) -> None:
        """Let go of both files."""
        self._aside.shutdown()
        for file in (self._log_file, self._copy_file):
            if file != -1:
                os.close(file)
        self._log_file = self._copy_file = -1

    def _is_cramped(self) -> bool:
        return self.reserve > 0 and bool(self._salts) and self._room - max(self._end, self._copy_end) < AHEAD

    def _note(self) -> bool:
        """Write to the copy what was committed since the last time; whether anything was."""
        header = os.pread(self._log_file, _LOG_HEADER, 0)
        if len(header) < _LOG_HEADER:
            return False
        if header[_SALTS] != self._salts:
            self._salts, self._end, self._copy_end = header[_SALTS], 0, 0
        end = self._committed(int.from_bytes(header[_PAGE_SIZE]))
        if end == self._end:
            return False
        content = os.pread(self._log_file, end - self._end, self._end)
        record = _record(self._salts, self._end, content)
        _write(self._copy_file, record, self._copy_end)
        self._end, self._copy_end = end, self._copy_end + len(record)
        return True

    def _committed(self, page: int) -> int:
        """Where the last commit of these salts ends in the log."""
        found = self._end
        at = max(self._end, _LOG_HEADER)
        while (frame := os.pread(self._log_file, _FRAME_HEADER, at))[8:16] == self._salts:
            at += _FRAME_HEADER + page
            if frame[4:8] != bytes(4):  # the database's size after a commit; zero in the frames before
                found = at
        return found


def copy_living(database: Path, folder: Path) -> Path | None:
    """Copy a database that its process may be writing, with its log; None where the log began anew meanwhile.

    What is moved from the log into the file during the copying stands in the log, too, until that begins anew.

    Raises:
        OSError: as `shutil.copyfile`.
    """
    log = database.with_name(f"{database.name}-wal")
    before = _salts_of(log)
    copy = Path(shutil.copyfile(database, folder / database.name))
    with suppress(FileNotFoundError):  # there is none, where the service ended in good order
        shutil.copyfile(log, folder / log.name)
    return copy if before == _salts_of(log) else None


def _salts_of(log: Path) -> bytes:
    try:
        with log.open("rb") as file:
            return file.read(_LOG_HEADER)[_SALTS]
    except FileNotFoundError:
        return b""


def _record(salts: bytes, position: int, content: bytes) -> bytes:
    head = _HEAD.pack(MAGIC, salts, position, len(content))
    return b"".join((head, hashlib.sha256(head + content).digest(), content))


def _records(copy: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Salts, position and content of each record that is whole, up to the first that is not or is of before."""
    at = end = 0
    first = b""
    while len(copy) - at >= _HEAD.size + _DIGEST:
        head, begin = copy[at : at + _HEAD.size], at + _HEAD.size + _DIGEST
        magic, salts, position, length = _HEAD.unpack(head)
        content = copy[begin : begin + length]
        whole = hashlib.sha256(head + content).digest() == copy[at + _HEAD.size : begin]
        if magic != MAGIC or not whole or position != end or salts != (first or salts):
            return
        yield salts, position, content
        first, at, end = salts, begin + length, position + length


def _mend(log: Path, copy: bytes) -> None:
    """Write the copy's records over the log, unless that was begun anew since: then all of them are in the file."""
    records = [*_records(copy)]
    if not records:
        return
    found = log.read_bytes() if log.exists() else b""
    if not found:  # we empty the copy before; the file may be older than it, or newer by a process of another version
        raise CorruptStore(f"{log} is gone, and its copy says that it held what was acknowledged: put it back")
    if _is_header(found[:_LOG_HEADER]) and found[_SALTS] != records[0][0]:
        return
    content = b"".join(content for _, _, content in records)
    file = os.open(log, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if found[: len(content)] != content:
            _write(file, content, 0)
        os.fsync(file)
    finally:
        os.close(file)


def _is_header(header: bytes) -> bool:
    """Whether this is a log's header, whose checksum holds."""
    if len(header) < _LOG_HEADER or header[:4] not in (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"):
        return False
    order = ">" if header[3] & 1 else "<"
    first = second = 0
    for one, other in struct.iter_unpack(f"{order}2I", header[:24]):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second) == header[24:]


def _synchronise_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _write(file: int, content: bytes, at: int) -> None:
    """All of it: a disk that is nearly full takes a part."""
    left = memoryview(content)
    while left:
        done = os.pwrite(file, left, at)
        left, at = left[done:], at + done
