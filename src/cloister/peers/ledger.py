"""The ledger, as the KMS and others call it (docs/formats/ledger.md). It is believed in nothing: check what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeVar
from urllib.parse import urlencode

from cloister.errors import MalformedInput, TooLarge, Unavailable
from cloister.formats.checkpoint import MAXIMUM_NOTE
from cloister.formats.cose_receipt import MAXIMUM_RECEIPT
from cloister.formats.ledger_batch import (
    MAXIMUM_BATCH,
    RefusedEntry,
    batches,
    encode_batch,
    parse_batch_answers,
)
from cloister.formats.ledger_messages import (
    MAXIMUM_APPENDED,
    MAXIMUM_BLOB,
    MAXIMUM_PAGE,
    Appended,
    parse_appended,
    parse_digest,
    parse_entries,
    parse_path,
)
from cloister.hosting.tls import PeerTls
from cloister.peers.exchange import CBOR
from cloister.peers.failover import FailoverExchange

T = TypeVar("T")

SECONDS = 15.0  # an append waits for the disk and for the witnesses
BYTES = {"content-type": "application/octet-stream"}


class LedgerClient:
    """Calls a ledger, by any of its front ends; an asynchronous context manager.

    Every call raises `Unavailable` where no whole answer came in time: it may be tried again, an append too, since the
    same entry keeps its index. `Refused` and `PeerRefused` say that the ledger would not.
    """

    def __init__(self, *urls: str, seconds: float = SECONDS, peers: PeerTls | None = None) -> None:
        """`urls` are the front ends' prefixes, as in http://127.0.0.1:7001; `peers` say how remote ones are known."""
        self._exchange = FailoverExchange("the ledger", urls, seconds=seconds, peers=peers)

    async def __aenter__(self) -> Self:
        await self._exchange.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._exchange.__aexit__(*raised)

    async def append(self, entry: bytes) -> Appended:
        """Log an entry; returns once a quorum of the ledger's witnesses cosigned a checkpoint with it."""
        answer = await self._exchange.ask("POST", "/entries", body=entry, headers=CBOR, limit=MAXIMUM_APPENDED)
        return self._parsed(parse_appended, answer.body)

    async def append_all(self, entries: Sequence[bytes]) -> list[Appended | RefusedEntry]:
        """As `append`, for many entries in few requests: the answer to each, in their order.

        An entry that is refused leaves the others as they are. Where a request fails, send all of them again.
        """
        answers: list[Appended | RefusedEntry] = []
        for batch in batches(entries):
            body, limit = encode_batch(batch), MAXIMUM_BATCH
            answer = await self._exchange.ask("POST", "/batches", body=body, headers=CBOR, limit=limit)
            answers += self._parsed(partial(parse_batch_answers, number=len(batch)), answer.body)
        return answers

    async def entries(self, start: int, end: int) -> tuple[bytes, ...]:
        """The entries from index `start` to before `end`, all of them cosigned; asks as often as it takes."""
        found: list[bytes] = []
        while start + len(found) < end:
            query = urlencode({"start": start + len(found), "end": end})
            answer = await self._exchange.ask("GET", f"/entries?{query}", limit=MAXIMUM_PAGE + 16_384)
            page = self._parsed(parse_entries, answer.body)
            if not 0 < len(page) <= end - start - len(found):
                raise Unavailable("the ledger sent a broken answer: another number of entries than there are")
            found.extend(page)
        return tuple(found)

    async def checkpoint(self) -> bytes:
        """The latest cosigned checkpoint, a signed note."""
        return (await self._exchange.ask("GET", "/checkpoint", limit=MAXIMUM_NOTE)).body

    async def renew_checkpoint(self) -> bytes:
        """The latest checkpoint, cosigned now: the same size unless the log grew, with fresh times."""
        return (await self._exchange.ask("POST", "/checkpoint", headers=CBOR, limit=MAXIMUM_NOTE)).body

    async def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The path of the entry at `index` under the root of the first `size` entries."""
        query = urlencode({"index": index, "size": size})
        answer = await self._exchange.ask("GET", f"/proofs/inclusion?{query}", limit=4096)
        return self._parsed(parse_path, answer.body)

    async def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The path from the root of the first `old` entries, at least one, to that of the first `new`."""
        query = urlencode({"old": old, "new": new})
        answer = await self._exchange.ask("GET", f"/proofs/consistency?{query}", limit=4096)
        return self._parsed(parse_path, answer.body)

    async def receipt(self, index: int) -> bytes:
        """A COSE receipt (RFC 9942) of the entry at `index`, for others' tools."""
        return (await self._exchange.ask("GET", f"/entries/{index}/receipt", limit=MAXIMUM_RECEIPT)).body

    async def put_blob(self, data: bytes) -> bytes:
        """Store at most 16 MiB beside the log; its SHA-256, by which entries name it."""
        answer = await self._exchange.ask("PUT", "/blobs", body=data, headers=BYTES, limit=64, expected=((201, None),))
        digest = self._parsed(parse_digest, answer.body)
        if digest != hashlib.sha256(data).digest():
            raise Unavailable("the ledger sent a broken answer: another digest than the blob's")
        return digest

    async def get_blob(self, digest: bytes) -> bytes:
        """The blob of this SHA-256; what comes is held against it.

        Raises:
            PeerRefused: there is none.
        """
        blob = (await self._exchange.ask("GET", f"/blobs/{digest.hex()}", limit=MAXIMUM_BLOB)).body
        if hashlib.sha256(blob).digest() != digest:
            raise Unavailable("the ledger sent a broken answer: a blob of another digest")
        return blob

    def _parsed(self, parse: Callable[[bytes], T], body: bytes) -> T:
        try:
            return parse(body)
        except (MalformedInput, TooLarge) as error:
            raise self._exchange.broken(error) from error
