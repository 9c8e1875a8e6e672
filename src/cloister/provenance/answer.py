"""Response receipts: the gateway's signed word on which request got which answer, under which contract and key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cloister.crypto.cose import sign1
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.multipart import parse_multipart
from cloister.formats.response_receipt import (
    RECEIPT_TYPE,
    TIME_GRAIN,
    PartDigest,
    RequestSummary,
    ResponseReceipt,
    response_digest,
)


@dataclass(frozen=True, slots=True)
class Answered:
    """An exchange as the gateway saw it."""

    request: RequestSummary
    status: int
    body: bytes
    salt: bytes  # 32 random bytes, fresh for each answer
    at: int  # seconds since 1970


def summarise(method: str, path: str, content_type: str, body: bytes) -> RequestSummary:
    """Name each part of a request and digest its content; a body that is no form is one part without a name.

    Raises:
        MalformedInput, TooLarge: the body calls itself a form and is none.
    """
    if content_type.lower().startswith("multipart/form-data"):
        parts: Iterable[tuple[str, bytes | memoryview]] = (
            (part.name, part.content) for part in parse_multipart(body, content_type)
        )
    else:
        parts = (("", body),) if body else ()
    digests = tuple(PartDigest(name=name, digest=hashlib.sha256(content).digest()) for name, content in parts)
    return RequestSummary(method=method, path=path, parts=digests)


def sign_receipt(key: SigningKey, answered: Answered, *, contract: bytes, epoch: bytes) -> bytes:
    """The receipt's core: a COSE_Sign1 by the gateway's certified key."""
    receipt = ResponseReceipt(
        contract=contract,
        epoch=epoch,
        request=answered.request.digest(answered.salt),
        response=response_digest(answered.salt, answered.status, answered.body),
        at=answered.at - answered.at % TIME_GRAIN,
    )
    return sign1(key, canonical.encode(receipt), content_type=RECEIPT_TYPE)
