"""One encapsulated request to its encapsulated answer.

What fails before the request is open is told in the clear, and says nothing but that. From then on every answer, an
error too, is sealed: to the relay all are alike but for their padded size.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from cloister.errors import CloisterError, MalformedInput, UsageError
from cloister.formats.binary_http import Fields, Request, Response, decode_request, encode
from cloister.hosting import problem
from cloister.ohttp.encapsulation import RESPONSE_NONCE_SIZE, decapsulate_request, parse_header
from cloister.ohttp.padding import pad
from cloister.services.gateway.engine import EngineConnection
from cloister.services.gateway.inside import REASONS, Endpoints, field, for_client, for_engine, openai_error
from cloister.services.gateway.keys import GatewayKey, KeyRing
from cloister.services.gateway.replay import (
    DateNotAcceptable,
    ReplayTable,
    RequestReplayed,
    TableFull,
    date_header,
    parse_date,
)

SealReceipt = Callable[[GatewayKey, Request, Response], Fields]


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Answers encapsulated requests. `seal_receipt` gives the header fields of the receipt for an answer.

    `seal_receipt` may raise `MalformedInput` or `TooLarge` where the request calls itself a form and is none.
    """

    keys: KeyRing
    replays: ReplayTable
    endpoints: Endpoints
    engine: EngineConnection
    seal_receipt: SealReceipt
    engine_seconds: float
    now: Callable[[], float]  # seconds since 1970

    async def answer(self, data: bytes) -> bytes:
        """The encapsulated answer to the encapsulated request `data`.

        Raises:
            MalformedInput: `data` is none.
            KeyProblem: it cannot be opened with a key of this gateway.
            Unavailable: whether it can, cannot be told now.
        """
        key = await self.keys.key_for(parse_header(data).key_id)
        opened = decapsulate_request(key.private, key.key_id, data)
        response = await self._inside(key, opened.enc, opened.request)
        return opened.sealer.seal(pad(encode(response)), nonce=secrets.token_bytes(RESPONSE_NONCE_SIZE))

    async def _inside(self, key: GatewayKey, enc: bytes, message: bytes) -> Response:
        try:
            request = decode_request(message)
            self._admit(enc, request)
        except (DateNotAcceptable, RequestReplayed, TableFull) as error:
            return self._not_admitted(error)
        except UsageError as error:
            return openai_error(error.status, f"The sealed request is not Binary HTTP: {error}.")
        response = await self._answer(request)
        try:
            receipt = self.seal_receipt(key, request, response)
        except UsageError as error:
            return openai_error(error.status, f"The request is not what its content type says: {error}.")
        return Response(response.status, response.headers + receipt, response.body)

    async def _answer(self, request: Request) -> Response:
        try:
            self.endpoints.require(request)
            return for_client(await self.engine.ask(for_engine(request), seconds=self.engine_seconds))
        except UsageError as error:
            return openai_error(error.status, str(error))
        except CloisterError as error:
            status = error.status if error.status in REASONS else 502
            return openai_error(status, REASONS[status], retry=error.retry)

    def _admit(self, enc: bytes, request: Request) -> None:
        try:
            date = parse_date(field(request.headers, "date") or "")
        except MalformedInput as error:
            raise DateNotAcceptable(str(error)) from error
        self.replays.admit(enc, date, now=int(self.now()))

    def _not_admitted(self, error: CloisterError) -> Response:
        """A problem in the form of RFC 9458 section 6.5.2, with the time it is here."""
        headers = (("content-type", problem.MEDIA_TYPE), ("date", date_header(int(self.now()))))
        return Response(error.status, headers, problem.encode(problem.problem_of(error)))
