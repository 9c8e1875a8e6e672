"""Blobs by their SHA-256: what entries name by digest because it is too large for them. Here in files."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Protocol

from cloister.errors import TooLarge, Unavailable
from cloister.storage.database_file import CorruptStore

_PARTIAL = ".partial-"


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
    """A folder, used by one process. Calls block for as long as the disk takes: run them in a thread."""

    def __init__(self, folder: Path, *, maximum: int, capacity: int) -> None:
        """`maximum` bytes for one blob, `capacity` for all of them. What a crash left half-written is removed."""
        self._folder = folder
        self._maximum = maximum
        self._capacity = capacity
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob(f"{_PARTIAL}*"):
            left.unlink()
        self._used = sum(file.stat().st_size for file in folder.iterdir())

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
        if target.exists():
            return digest
        if self._used + len(data) > self._capacity:
            raise FullStore(f"{self._used} bytes of blobs are stored, the cap is {self._capacity}")
        try:
            self._write(target, data)
        except OSError as error:
            raise Unavailable(f"a blob cannot be stored: {error.strerror}") from error
        self._used += len(data)
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

    def _write(self, target: Path, data: bytes) -> None:
        """Whole or not at all, whenever the power goes."""
        descriptor, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=self._folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).replace(target)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class BlobFiles:
    """A folder of blobs; see `Blobs`. Its disk is waited for in threads, and written by one at a time."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._writing = asyncio.Lock()

    async def put(self, data: bytes) -> bytes:
        """Store `data`; see `Blobs.put`."""
        async with self._writing:
            return await asyncio.to_thread(self._store.put, data)

    async def get(self, digest: bytes) -> bytes | None:
        """The blob of this digest; see `Blobs.get`."""
        return await asyncio.to_thread(self._store.get, digest)
