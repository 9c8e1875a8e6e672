"""`POST /batches`: many entries by one request, each with an answer of its own (docs/formats/ledger.md)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.crypto.signing import BadSignature
from cloister.errors import CloisterError, TooLarge
from cloister.formats import canonical
from cloister.formats.ledger_batch import MAXIMUM_BATCH, AppendedBatch, Reason, RefusedEntry, parse_batch
from cloister.hosting.application import read_body, require_media_type
from cloister.hosting.guarded_protocol import CALLER
from cloister.services.ledger.sequencer import Sequencer
from cloister.services.ledger.signature_checks import SignatureChecks
from cloister.services.ledger.writers import BATCHED_ENTRY_BYTES, Writers

CBOR = "application/cbor"
MAXIMUM_DETAIL = 1024  # characters


def batch_route(sequencer: Sequencer, checks: SignatureChecks, writers: Writers) -> Route:
    """The route; entries that are refused leave the others as they are."""

    async def append_all(request: Request) -> Response:
        writers.admit(request.scope["state"][CALLER])
        require_media_type(request, CBOR)
        entries = parse_batch(await read_body(request, limit=MAXIMUM_BATCH))
        verdicts = await checks.check_all(entries)
        taken = [entry for entry, verdict in zip(entries, verdicts, strict=True) if verdict is None]
        writers.charge_entries(request.scope["state"][CALLER], taken, each=BATCHED_ENTRY_BYTES)
        placed = await sequencer.append_all(taken)
        answer = AppendedBatch(
            checkpoint=placed.checkpoint.note, indices=placed.indices, paths=placed.paths, refused=refusals(verdicts)
        )
        return Response(canonical.encode(answer), media_type=CBOR)

    return Route("/batches", append_all, methods=["POST"])


def refusals(verdicts: Sequence[CloisterError | None]) -> tuple[RefusedEntry, ...]:
    """Those of a batch that were refused."""
    return tuple(
        RefusedEntry(position=position, reason=_reason(verdict), detail=str(verdict)[:MAXIMUM_DETAIL])
        for position, verdict in enumerate(verdicts)
        if verdict is not None
    )


def _reason(verdict: CloisterError) -> Reason:
    if isinstance(verdict, BadSignature):
        return "signature"
    return "too-large" if isinstance(verdict, TooLarge) else "malformed"
