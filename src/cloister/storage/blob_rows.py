"""Blobs in rows of a database that several front ends share."""

from __future__ import annotations

import hashlib

from cloister.errors import TooLarge
from cloister.storage.blobs import FullStore
from cloister.storage.database_file import CorruptStore
from cloister.storage.transaction import Query, Steps, Transactions


class BlobRows:
    """The ledger's blobs in PostgreSQL; see `Blobs`."""

    def __init__(self, database: Transactions, *, maximum: int, capacity: int) -> None:
        """`maximum` bytes for one blob, `capacity` for all of them."""
        self._database = database
        self._maximum = maximum
        self._capacity = capacity

    async def put(self, data: bytes) -> bytes:
        """Store `data`; see `Blobs.put`. Any front end may: a digest names the same bytes whoever stores them."""
        if len(data) > self._maximum:
            raise TooLarge(f"a blob of {len(data)} bytes, the cap is {self._maximum}")
        digest = hashlib.sha256(data).digest()
        await self._database.write(lambda: _put(digest, data, self._capacity), by_any=True)
        return digest

    async def get(self, digest: bytes) -> bytes | None:
        """The blob of this digest; see `Blobs.get`."""
        data = await self._database.read(lambda: _get(digest))
        if data is not None and hashlib.sha256(data).digest() != digest:
            raise CorruptStore(f"the blob {digest.hex()} is damaged in the database")
        return data


def _put(digest: bytes, data: bytes, capacity: int) -> Steps[None]:
    if (yield Query("SELECT 1 FROM blobs WHERE digest = ?", (digest,))):
        return
    added = yield Query(
        "UPDATE blob_bytes SET used = used + ? WHERE used + ? <= ? RETURNING used", (len(data), len(data), capacity)
    )
    if not added:
        raise FullStore(f"there is no room for {len(data)} bytes of a blob, the cap of all is {capacity}")
    yield Query("INSERT INTO blobs VALUES (?, ?)", (digest, data))


def _get(digest: bytes) -> Steps[bytes | None]:
    rows = yield Query("SELECT data FROM blobs WHERE digest = ?", (digest,))
    return rows[0][0] if rows else None
