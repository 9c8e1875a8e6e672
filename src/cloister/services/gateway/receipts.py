"""Response receipts on answers: signed with the key that the KMS certified, inside the sealed answer."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable

from cloister.crypto.signing import SigningKey
from cloister.formats.binary_http import Fields
from cloister.formats.response_receipt import RECEIPT_HEADER, SALT_HEADER
from cloister.provenance.answer import Answered, ReceiptSigner, RunningSummary
from cloister.services.gateway.buffers import SMALL, wipe
from cloister.services.gateway.inside import field
from cloister.services.gateway.keys import GatewayKey

SALT_SIZE = 32  # bytes


class SignedReceipts:
    """Makes receipts, each under the contract of the key that opened its request."""

    def __init__(self, key: SigningKey, *, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since 1970."""
        self.signer = ReceiptSigner(key)
        self.clock = clock

    def begin(self, method: str, path: str, headers: Fields) -> SignedReceipt:
        """The receipt of one exchange.

        Raises:
            MalformedInput, TooLarge: the request calls itself a form and is none.
        """
        return SignedReceipt(self, RunningSummary(method, path, field(headers, "content-type") or ""))


class SignedReceipt:
    """Digests both sides as they stream by, and keeps nothing else of them."""

    __slots__ = ("_receipts", "_response", "_summary")

    def __init__(self, receipts: SignedReceipts, summary: RunningSummary) -> None:
        self._receipts = receipts
        self._summary = summary
        self._response = hashlib.sha256()

    def request(self, piece: memoryview) -> None:
        """More of the request's body.

        Raises:
            MalformedInput, TooLarge: it calls itself a form and is none.
        """
        if not self._summary.is_form:
            self._summary.update(piece)
            return
        for at in range(0, len(piece), SMALL):  # the form parser wants to search bytes: in pieces that can be wiped
            part = bytearray(piece[at : at + SMALL])
            try:
                self._summary.update(part)
            finally:
                wipe(memoryview(part))

    def asked(self) -> None:
        """The request's body is whole.

        Raises:
            MalformedInput: it calls itself a form and ends before one does.
        """
        self._summary.end()

    def answer(self, piece: memoryview | bytes) -> None:
        """More of the answer's body."""
        self._response.update(piece)

    def forget_answer(self) -> None:
        """What was seen of the answer is not shown; another takes its place."""
        self._response = hashlib.sha256()

    def fields(self, key: GatewayKey, status: int) -> Fields:
        """The receipt's fields, once all was seen."""
        answered = Answered(
            request=self._summary.summary(),
            status=status,
            body_digest=self._response.digest(),
            salt=secrets.token_bytes(SALT_SIZE),
            at=int(self._receipts.clock()),
        )
        core = self._receipts.signer.sign(answered, contract=key.contract, epoch=key.epoch)
        return ((RECEIPT_HEADER, _base64(core)), (SALT_HEADER, _base64(answered.salt)))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
