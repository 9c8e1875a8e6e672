"""Response receipts on answers: signed with the key that the KMS certified, inside the sealed answer."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable

from cloister.crypto.signing import SigningKey
from cloister.formats.binary_http import Fields, Request, Response
from cloister.formats.response_receipt import RECEIPT_HEADER, SALT_HEADER
from cloister.provenance.answer import Answered, sign_receipt, summarise
from cloister.services.gateway.exchange import SealReceipt
from cloister.services.gateway.inside import field
from cloister.services.gateway.keys import GatewayKey

SALT_SIZE = 32  # bytes


def receipts(key: SigningKey, *, contract: bytes, clock: Callable[[], float]) -> SealReceipt:
    """What makes the receipt's header fields for each answer under `contract` (digest of the one in force)."""

    def seal(opened_with: GatewayKey, request: Request, response: Response) -> Fields:
        content_type = field(request.headers, "content-type") or ""
        salt = secrets.token_bytes(SALT_SIZE)
        answered = Answered(
            request=summarise(request.method, request.path, content_type, request.body),
            status=response.status,
            body_digest=hashlib.sha256(response.body).digest(),
            salt=salt,
            at=int(clock()),
        )
        core = sign_receipt(key, answered, contract=contract, epoch=opened_with.epoch)
        return ((RECEIPT_HEADER, _base64(core)), (SALT_HEADER, _base64(salt)))

    return seal


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
