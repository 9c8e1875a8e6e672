"""Opens a ledger's log where its settings say: a file of its own, or a database that several front ends share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

from cloister.crypto.signing import SigningKey
from cloister.formats.ledger_messages import MAXIMUM_BLOB
from cloister.hosting.database_settings import SQLITE
from cloister.hosting.health import Check
from cloister.hosting.loopback import LOOPBACK
from cloister.peers.ledger import LedgerClient
from cloister.services.ledger.front_end import FrontEnd
from cloister.services.ledger.sequencer import Sequencer
from cloister.services.ledger.settings import LedgerSettings
from cloister.services.ledger.witnessed_log import Cosigners
from cloister.storage.blob_rows import BlobRows
from cloister.storage.blobs import BlobFiles, Blobs, BlobStore
from cloister.storage.leadership import Leadership
from cloister.storage.ledger_store import LedgerStore
from cloister.storage.opening import open_database, open_shared


class OpenLog(NamedTuple):
    """What the service serves, until it is left."""

    sequencer: Sequencer
    blobs: Blobs
    probe: Check


@contextlib.asynccontextmanager
async def open_log(
    settings: LedgerSettings, key: SigningKey, cosigners: Cosigners, port: int
) -> AsyncIterator[OpenLog]:
    """The log, read back and at work; `port` is where this process will listen.

    Raises:
        UsageError: settings that make no sense.
        CorruptStore: the stored log is damaged, or not what its witnesses cosigned.
        Unavailable: another process has the database, or it cannot be reached.
    """
    opening = _own if settings.database.url == SQLITE else _shared
    async with AsyncExitStack() as stack:
        yield await opening(stack, settings, key, cosigners, port)


async def _own(
    stack: AsyncExitStack, settings: LedgerSettings, key: SigningKey, cosigners: Cosigners, _port: int
) -> OpenLog:
    database = await open_database(settings.database, settings.folder, service="ledger")
    stack.push_async_callback(database.close)
    store = LedgerStore(database)
    await store.claim(settings.origin, key.public)
    sequencer = Sequencer(settings.origin, key, store, cosigners)
    await sequencer.start()
    stack.push_async_callback(sequencer.stop)
    files = BlobStore(settings.folder / "blobs", maximum=MAXIMUM_BLOB, capacity=settings.blobs_bytes)
    return OpenLog(sequencer, BlobFiles(files), database.probe)


async def _shared(
    stack: AsyncExitStack, settings: LedgerSettings, key: SigningKey, cosigners: Cosigners, port: int
) -> OpenLog:
    database = await open_shared(settings.database, service="ledger")
    stack.push_async_callback(database.close)
    store = LedgerStore(database)
    await store.claim(settings.origin, key.public)
    url = settings.url or own_url(settings, port)
    terms = Leadership(database, url=url, seconds=settings.lease_seconds)
    reach = partial(LedgerClient, peers=settings.peers)
    front_end = FrontEnd(settings.origin, key, store, cosigners, terms=terms, reach=reach)
    stack.push_async_callback(front_end.leave)
    await front_end.enter(seconds=settings.lease_seconds)
    return OpenLog(front_end, BlobRows(database, maximum=MAXIMUM_BLOB, capacity=settings.blobs_bytes), database.probe)


def own_url(settings: LedgerSettings, port: int) -> str:
    """Where other front ends reach this one, unless its settings say otherwise."""
    scheme = "http" if settings.tls is None else "https"
    address = settings.address or LOOPBACK
    return f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}"
