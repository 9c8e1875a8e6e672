"""The ledger over HTTP (docs/formats/ledger.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.crypto.signing import SigningKey
from cloister.errors import UsageError
from cloister.formats import canonical
from cloister.formats.checkpoint import Checkpoint, parse_size
from cloister.formats.ledger_messages import (
    MAXIMUM_BLOB,
    MAXIMUM_PAGE,
    MAXIMUM_PAGE_ENTRIES,
    encode_digest,
    encode_list,
)
from cloister.formats.statement import MAXIMUM_ENTRY
from cloister.formats.tlog_proof import MEDIA_TYPE as TLOG_PROOF
from cloister.formats.tlog_proof import TlogProof
from cloister.hosting.application import application, read_body, require_media_type
from cloister.hosting.guarded_protocol import CALLER
from cloister.hosting.health import Check, Health, Metrics
from cloister.hosting.service_limits import ServiceLimits
from cloister.ledger.foreign_statements import Issuers
from cloister.ledger.receipts import sign_inclusion
from cloister.services.ledger.batch_route import batch_route
from cloister.services.ledger.scitt import Scitt
from cloister.services.ledger.sequencer import Sequencer
from cloister.services.ledger.signature_checks import Admit, SignatureChecks
from cloister.services.ledger.tiles import tile_routes
from cloister.services.ledger.writers import ENTRY_BYTES, Writers
from cloister.storage.blobs import Blobs

CBOR = "application/cbor"
BYTES = "application/octet-stream"
NOTE = "text/plain; charset=utf-8"
RECEIPT = "application/cose"


@dataclass(frozen=True, slots=True)
class Log:
    """What the routes are about."""

    sequencer: Sequencer
    blobs: Blobs
    key: SigningKey
    admit: Admit  # for each entry why it may not be logged, if it may not
    writers: Writers
    issuers: Issuers = field(default_factory=dict)  # whose COSE statements are registered, too


def build(log: Log, *, checks: Sequence[Check] = (), limits: ServiceLimits | None = None) -> Starlette:
    """The application; it is ready where a quorum cosigns and all `checks` pass."""
    api = _Api(log)
    routes = [
        *Scitt(log.sequencer, log.key, log.issuers, log.writers).routes(api.append),
        batch_route(log.sequencer, api.checks, log.writers),
        Route("/entries", api.entries, methods=["GET"]),
        Route("/entries/{index}/receipt", api.receipt, methods=["GET"]),
        Route("/entries/{index}/proof", api.proof, methods=["GET"]),
        Route("/checkpoint", api.checkpoint, methods=["GET"]),
        Route("/checkpoint", api.renew, methods=["POST"]),
        Route("/proofs/inclusion", api.inclusion, methods=["GET"]),
        Route("/proofs/consistency", api.consistency, methods=["GET"]),
        *tile_routes(log.sequencer),
        Route("/blobs", api.put_blob, methods=["PUT"]),
        Route("/blobs/{digest}", api.get_blob, methods=["GET"]),
    ]
    health = Health("ledger", Metrics("ledger"), missing=log.sequencer.missing, checks=checks)
    return application(health, routes, limits=limits)


class _Api:
    def __init__(self, log: Log) -> None:
        self._sequencer = log.sequencer
        self._blobs = log.blobs
        self._key = log.key
        self.checks = SignatureChecks(log.admit)
        self._writers = log.writers

    async def append(self, request: Request) -> Response:
        self._require_writer(request)
        require_media_type(request, CBOR)
        entry = await read_body(request, limit=MAXIMUM_ENTRY)
        await self.checks.check(entry)
        self._writers.charge_entries(request.scope["state"][CALLER], [entry], each=ENTRY_BYTES)
        return Response(canonical.encode(await self._sequencer.append(entry)), media_type=CBOR)

    async def entries(self, request: Request) -> Response:
        start, end = _numbers(request, "start", "end")
        last = min(end, start + MAXIMUM_PAGE_ENTRIES)
        await self._sequencer.fresh()
        return Response(encode_list(await self._sequencer.entries(start, last, limit=MAXIMUM_PAGE)), media_type=CBOR)

    async def receipt(self, request: Request) -> Response:
        index = parse_size(request.path_params["index"])
        await self._sequencer.fresh()
        cosigned = self._sequencer.cosigned
        path = self._sequencer.inclusion(index, cosigned.size)
        checkpoint = Checkpoint(self._sequencer.log.origin, cosigned.size, cosigned.root)
        return Response(sign_inclusion(self._key, checkpoint, index, path), media_type=RECEIPT)

    async def proof(self, request: Request) -> Response:
        index = parse_size(request.path_params["index"])
        await self._sequencer.fresh()
        cosigned = self._sequencer.cosigned
        path = self._sequencer.inclusion(index, cosigned.size)
        return Response(TlogProof(index, path, cosigned.note).encode(), media_type=TLOG_PROOF)

    async def checkpoint(self, _request: Request) -> Response:
        await self._sequencer.fresh()
        return Response(self._sequencer.cosigned.note, media_type=NOTE, headers={"cache-control": "no-cache"})

    async def renew(self, request: Request) -> Response:
        self._require_writer(request)
        require_media_type(request, CBOR)
        return Response(await self._sequencer.renew(), media_type=NOTE)

    async def inclusion(self, request: Request) -> Response:
        index, size = _numbers(request, "index", "size")
        await self._sequencer.fresh()
        return Response(encode_list(self._sequencer.inclusion(index, size)), media_type=CBOR)

    async def consistency(self, request: Request) -> Response:
        old, new = _numbers(request, "old", "new")
        await self._sequencer.fresh()
        return Response(encode_list(self._sequencer.consistency(old, new)), media_type=CBOR)

    async def put_blob(self, request: Request) -> Response:
        self._require_writer(request)
        require_media_type(request, BYTES)
        data = await read_body(request, limit=MAXIMUM_BLOB)
        self._writers.charge(len(data))
        digest = await self._blobs.put(data)
        return Response(encode_digest(digest), 201, media_type=CBOR)

    async def get_blob(self, request: Request) -> Response:
        blob = await self._blobs.get(_digest(request.path_params["digest"]))
        if blob is None:
            raise HTTPException(404, "no blob of this digest is stored")
        return Response(blob, media_type=BYTES)

    def _require_writer(self, request: Request) -> None:
        self._writers.admit(request.scope["state"][CALLER])


def _numbers(request: Request, first: str, second: str) -> tuple[int, int]:
    given = request.query_params
    if sorted(key for key, _ in given.multi_items()) != sorted([first, second]):
        raise UsageError(f"the query is {first} and {second}, each once")
    return parse_size(given[first]), parse_size(given[second])


def _digest(text: str) -> bytes:
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise UsageError("a digest is 64 hexadecimal digits in lower case")
    return bytes.fromhex(text)
