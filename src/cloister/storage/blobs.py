"""Blobs by their SHA-256: what entries name by digest because it is too large for them. Here in files."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path
from threading import Lock
from typing import Protocol

from cloister.errors import TooLarge, Unavailable
from cloister.storage.database_file import CorruptStore

_PARTIAL = ".partial-"
AT_ONCE = 4  # blobs on their way to the disk, 16 MiB each at most


class FullStore(Unavailable):
    """The blobs have reached their cap."""

    status = 507


class Blobs(Protocol):
    """Blobs in files or in a database."""

    async def put(self, data: bytes) -> bytes:
        """Store `data`; its digest, 32 bytes, once it is on disk. The same bytes are stored once.

        Raises:
            TooLarge: over the cap of one blob.
            FullStore: over the cap of all.
            Unavailable: the disk or the database failed.
        """

    async def get(self, digest: bytes) -> bytes | None:
        """The blob of this digest; None where there is none.

        Raises:
            CorruptStore: what is stored is something else.
            Unavailable: the disk or the database failed.
        """


class BlobStore:
    """A folder, used by one process. Calls block for as long as the disk takes: run them in threads.

    A file has its name before its bytes are on disk, so that one synchronisation brings both there: a power cut may
    leave a torn one under its name. Its digest tells, and whoever stores the same bytes again mends it.
    """

    def __init__(self, folder: Path, *, maximum: int, capacity: int) -> None:
        """`maximum` bytes for one blob, `capacity` for all of them. What a crash left half-written is removed."""
        self._folder = folder
        self._maximum = maximum
        self._capacity = capacity
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob(f"{_PARTIAL}*"):
            left.unlink()
        self._used = sum(file.stat().st_size for file in folder.iterdir())
        self._writing = Lock()  # files, not to disk: that is waited for by several at once

    def put(self, data: bytes) -> bytes:
        """Store `data`; its digest, 32 bytes, once it is on disk. The same bytes are stored once.

        Raises:
            TooLarge: over the cap of one blob.
            FullStore: over the cap of all.
            Unavailable: the disk failed.
        """
        if len(data) > self._maximum:
            raise TooLarge(f"a blob of {len(data)} bytes, the cap is {self._maximum}")
        digest = hashlib.sha256(data).digest()
        target = self._folder / digest.hex()
        try:
            with self._writing:
                if not self._is_there(target, digest):
                    self._write(target, data)
            self._synchronise(target)
        except OSError as error:
            raise Unavailable(f"a blob cannot be stored: {error.strerror}") from error
        return digest

    def get(self, digest: bytes) -> bytes | None:
        """The blob of this digest; None where there is none.

        Raises:
            CorruptStore: the file holds something else.
            Unavailable: the disk failed.
        """
        try:
            data = (self._folder / digest.hex()).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"a blob cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).digest() != digest:
            raise CorruptStore(f"the blob {digest.hex()} is damaged on disk")
        return data

    def _is_there(self, target: Path, digest: bytes) -> bool:
        try:
            return hashlib.sha256(target.read_bytes()).digest() == digest
        except FileNotFoundError:
            return False

    def _write(self, target: Path, data: bytes) -> None:
        """Whole or not at all, whenever the process ends."""
        if self._used + len(data) > self._capacity:
            raise FullStore(f"{self._used} bytes of blobs are stored, the cap is {self._capacity}")
        descriptor, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(partial).replace(target)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        self._used += len(data)

    def _synchronise(self, target: Path) -> None:
        """The file first: where there is a journal its name goes to disk with it, and the folder costs nothing."""
        for path in (target, self._folder):
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)


class BlobFiles:
    """A folder of blobs; see `Blobs`. Its disk is waited for in threads, several blobs at a time."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._writing = asyncio.Semaphore(AT_ONCE)

    async def put(self, data: bytes) -> bytes:
        """Store `data`; see `Blobs.put`."""
        async with self._writing:
            return await asyncio.to_thread(self._store.put, data)

    async def get(self, digest: bytes) -> bytes | None:
        """The blob of this digest; see `Blobs.get`."""
        return await asyncio.to_thread(self._store.get, digest)
