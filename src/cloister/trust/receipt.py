"""Examines a stored receipt offline, at its checkpoint's time: before an answer is shown, and years later.

The specification is docs/formats/response-receipt.md, the ids are rows of docs/formats/checks.md.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cloister.crypto.cose import open1
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.response_receipt import (
    RECEIPT_TYPE,
    TIME_GRAIN,
    RequestSummary,
    ResponseReceipt,
    parse_response_receipt,
    response_digest,
)
from cloister.trust.bundle import VerifiedBundle
from cloister.trust.keys import TrustedEpoch

RECEIPT_STEPS = (
    "receipt.key",
    "receipt.signature",
    "receipt.contract",
    "receipt.epoch",
    "receipt.time",
    "receipt.request",
    "receipt.response",
)


class ReceiptRefused(Refused):
    """A receipt does not prove this exchange: the answer is not shown."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, as the client that judges them has them."""

    request: RequestSummary
    status: int
    body_digest: bytes  # SHA-256 of the answer's body: what streamed by is not kept
    salt: bytes  # 32 bytes


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """Proof that a gateway under the contract gave this answer to this request. Built only here."""

    receipt: ResponseReceipt
    gateway: bytes  # Ed25519, 32 bytes
    epoch: TrustedEpoch


def examine_receipt(core: bytes, exchange: Exchange, bundle: VerifiedBundle) -> Examination[VerifiedReceipt]:
    """Hold the signed core against the exchange and the bundle that the client encrypted under."""
    steps = Steps(RECEIPT_STEPS, ReceiptRefused)
    # 1. Signed by a gateway that the KMS certified: not by the relay, the operator, or another KMS's node.
    signer = steps.attempt("receipt.key", lambda: CoseSign1.parse(core).kid, MalformedInput, TooLarge)
    if signer is None:
        return steps.stopped()
    certified = [gateway for gateway in bundle.keys.gateways if gateway.sign == signer]
    shown = f"gateway {signer.hex()[:16]}…"
    steps.check("receipt.key", bool(certified), f"{shown} is not certified in the bundle", found=shown)
    receipt = steps.attempt(
        "receipt.signature",
        lambda: parse_response_receipt(open1(core, public=signer, content_type=RECEIPT_TYPE)),
        BadSignature,
        MalformedInput,
        TooLarge,
        found="signed",
    )
    if receipt is None or not certified:
        return steps.stopped()
    # 2. Under the contract in force when the client encrypted.
    contract = receipt.contract == bundle.contract.digest()
    steps.check(
        "receipt.contract", contract, "is of another contract", found=f"contract {receipt.contract.hex()[:16]}…"
    )
    # 3. With a key that this gateway was given.
    held = {gateway.epoch for gateway in certified}
    epoch = next((epoch for epoch in bundle.keys.epochs if epoch.digest == receipt.epoch), None)
    given = epoch is not None and epoch.digest in held
    steps.check(
        "receipt.epoch", given, "names an epoch whose key this gateway was not given", found="a key it was given"
    )
    # 4. While that key lived.
    if epoch is None:
        return steps.stopped()
    alive = epoch.not_before - TIME_GRAIN <= receipt.at <= min(epoch.stale_until, bundle.good_until)
    shortfall = "was made outside the epoch's life, or later than the bundle can speak for"
    steps.check("receipt.time", alive and receipt.at % TIME_GRAIN == 0, shortfall)
    # 5. This request and this answer, byte for byte.
    request = hmac.compare_digest(exchange.request.digest(exchange.salt), receipt.request)
    steps.check("receipt.request", request, "is of another request", found="of this request")
    answered = response_digest(exchange.salt, exchange.status, exchange.body_digest)
    response = hmac.compare_digest(answered, receipt.response)
    steps.check("receipt.response", response, "is of another answer", found="of this answer")
    return steps.examined(lambda: VerifiedReceipt(receipt, signer, epoch))
