"""A SCITT transparency service over the log (draft-ietf-scitt-scrapi): register, entry, receipt, keys.

Its routes are the ledger's own where the media type tells them apart; what goes wrong is said in CBOR (RFC 9290).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloister.crypto.signing import BadSignature, SigningKey
from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.formats.checkpoint import Checkpoint, parse_checkpoint, parse_note, parse_size
from cloister.formats.concise_problem import MEDIA_TYPE, encode_problem
from cloister.formats.constitution import Log
from cloister.formats.cose_key import encode_cose_key, encode_cose_key_set
from cloister.formats.ledger_messages import Appended
from cloister.formats.statement import MAXIMUM_ENTRY
from cloister.hosting.answers import RETRY_SECONDS
from cloister.hosting.application import read_body
from cloister.hosting.guarded_protocol import CALLER
from cloister.ledger.foreign_statements import Issuers, NotRegistered, is_cose, open_foreign_statement
from cloister.ledger.receipts import sign_inclusion
from cloister.services.ledger.writers import ENTRY_BYTES, Writers
from cloister.storage.ledger_store import StoredCheckpoint

COSE: Final = "application/cose"
CBOR: Final = "application/cbor"
KEYS: Final = "/.well-known/scitt-keys"
Handle = Callable[[Request], Awaitable[Response]]


class RegisteringLog(Protocol):
    """What is asked of the log."""

    log: Log

    @property
    def cosigned(self) -> StoredCheckpoint:
        """The latest cosigned checkpoint."""

    async def fresh(self) -> None:
        """Have read what any front end had acknowledged when this was called."""

    async def append(self, entry: bytes) -> Appended:
        """Log an entry; returns once a quorum cosigned a checkpoint with it."""

    async def entries(self, start: int, end: int, *, limit: int) -> list[bytes]:
        """A run of entries that count."""

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The path of an entry that counts."""


class NotFound(NotRegistered):
    """There is no such thing here."""

    status = 404


@dataclass(frozen=True, slots=True)
class Scitt:
    """The service: the log, the key that signs its receipts, and whose statements it registers."""

    log: RegisteringLog
    key: SigningKey
    issuers: Issuers
    writers: Writers

    def routes(self, append: Handle) -> list[Route]:
        """The routes; `append` takes what is posted to /entries and is no COSE."""
        register = _told(self.register)

        async def post(request: Request) -> Response:
            is_cose = request.headers.getlist("content-type") == [COSE]
            return await (register if is_cose else append)(request)

        return [
            Route("/entries", post, methods=["POST"]),
            Route("/entries/{index}", _told(self.receipt), methods=["GET"]),
            Route("/entries/{index}/statement", _told(self.statement), methods=["GET"]),
            Route(KEYS, _told(self.keys), methods=["GET"]),
            Route(KEYS + "/{kid}", _told(self.one_key), methods=["GET"]),
        ]

    async def register(self, request: Request) -> Response:
        """Log a statement of a known issuer; the answer is its receipt."""
        self.writers.admit(request.scope["state"][CALLER])
        statement = await read_body(request, limit=MAXIMUM_ENTRY)
        open_foreign_statement(statement, self.issuers)
        self.writers.charge(len(statement) + ENTRY_BYTES)
        appended = await self.log.append(statement)
        head = parse_checkpoint(parse_note(appended.checkpoint).text)
        receipt = sign_inclusion(self.key, head, appended.index, appended.path)
        return Response(receipt, 201, {"location": f"/entries/{appended.index}"}, COSE)

    async def receipt(self, request: Request) -> Response:
        """A receipt of the entry, under the latest cosigned checkpoint."""
        index, cosigned = await self._index(request), self.log.cosigned
        head = Checkpoint(self.log.log.origin, cosigned.size, cosigned.root)
        receipt = sign_inclusion(self.key, head, index, self.log.inclusion(index, cosigned.size))
        return Response(receipt, headers={"location": f"/entries/{index}"}, media_type=COSE)

    async def statement(self, request: Request) -> Response:
        """The entry as it was registered: what a receipt is about."""
        index = await self._index(request)
        (entry,) = await self.log.entries(index, index + 1, limit=MAXIMUM_ENTRY)
        return Response(entry, media_type=COSE if is_cose(entry) else CBOR)

    async def keys(self, _request: Request) -> Response:
        """The keys that receipts are signed with."""
        return Response(encode_cose_key_set(self.key.public), media_type=CBOR)

    async def one_key(self, request: Request) -> Response:
        """The key of that name, which is its bytes in base64url."""
        if _base64url(request.path_params["kid"]) != self.key.public:
            raise NotFound("No such key", "no key could be found for this kid value")
        return Response(encode_cose_key(self.key.public), media_type=CBOR)

    async def _index(self, request: Request) -> int:
        try:
            index = parse_size(request.path_params["index"])
        except MalformedInput as error:
            raise NotFound("Not Found", "an entry's id is its number in the log, in decimal") from error
        await self.log.fresh()
        if index >= self.log.cosigned.size:
            raise NotFound("Not Found", f"the log has {self.log.cosigned.size} entries, numbered from 0")
        return index


def _told(handle: Handle) -> Handle:
    """`handle`, whose failures are told as concise problem details."""

    async def told(request: Request) -> Response:
        try:
            return await handle(request)
        except CloisterError as error:
            headers = {"retry-after": str(getattr(error, "retry_seconds", RETRY_SECONDS))} if error.retry else {}
            return Response(encode_problem(_title(error), str(error)), error.status, headers, MEDIA_TYPE)

    return told


def _title(error: CloisterError) -> str:
    """SCRAPI's words, as far as it has some."""
    if isinstance(error, NotRegistered):
        return error.title
    if isinstance(error, (MalformedInput, TooLarge)):
        return "Malformed request"
    return "Rejected" if isinstance(error, BadSignature) else "Too Many Requests" if error.status == 429 else "Refused"


def _base64url(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
