"""Response receipts: the gateway's signed word on which request got which answer, under which contract and key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple

from cloister.crypto.cose import sign1
from cloister.crypto.signing import SigningKey
from cloister.formats import canonical
from cloister.formats.cose_sign1 import CoseSign1, protected_header, sig_structure
from cloister.formats.multipart import MultipartReader, PartHead
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
    body_digest: bytes  # SHA-256
    salt: bytes  # 32 random bytes, fresh for each answer
    at: int  # seconds since 1970


def summarise(method: str, path: str, content_type: str, body: bytes) -> RequestSummary:
    """Name each part of a request and digest its content; a body that is no form is one part without a name.

    Raises:
        MalformedInput, TooLarge: the body calls itself a form and is none.
    """
    running = RunningSummary(method, path, content_type)
    running.update(body)
    return running.summary()


class RunningSummary:
    """The summary of a request whose body streams by, split anywhere; nothing of it is kept."""

    __slots__ = ("_form", "_method", "_parts", "_path", "is_form")

    def __init__(self, method: str, path: str, content_type: str) -> None:
        """Raises `MalformedInput` or `TooLarge` where the content type calls itself a form's and is none."""
        self._method = method
        self._path = path
        self._parts = _PartDigests()
        self.is_form = content_type.lower().startswith("multipart/form-data")
        self._form = MultipartReader(content_type, self._parts) if self.is_form else None

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """More of the body; of a form not as a view, since its parser searches.

        Raises:
            MalformedInput, TooLarge: the body calls itself a form and is none.
        """
        if self._form is not None:
            assert not isinstance(piece, memoryview)
            self._form.feed(piece)
        elif piece:
            self._parts.nameless(piece)

    def end(self) -> None:
        """All of the body was seen.

        Raises:
            MalformedInput: it calls itself a form and ends before one does.
        """
        if self._form is not None:
            self._form.end()

    def summary(self) -> RequestSummary:
        """What it was, once all of the body was seen.

        Raises:
            MalformedInput: as `end`.
        """
        self.end()
        return RequestSummary(method=self._method, path=self._path, parts=self._parts.digests())


class _PartDigests:
    """The digest of each part, in their order."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[tuple[str, hashlib._Hash]] = []

    def begin(self, head: PartHead) -> None:
        self._parts.append((head.name, hashlib.sha256()))

    def content(self, data: bytes, start: int, end: int) -> None:
        self._parts[-1][1].update(memoryview(data)[start:end])

    def end(self) -> None:
        """A digest needs no end."""

    def nameless(self, piece: bytes | bytearray | memoryview) -> None:
        if not self._parts:
            self._parts.append(("", hashlib.sha256()))
        self._parts[-1][1].update(piece)

    def digests(self) -> tuple[PartDigest, ...]:
        return tuple(PartDigest(name=name, digest=digest.digest()) for name, digest in self._parts)


def sign_receipt(key: SigningKey, answered: Answered, *, contract: bytes, epoch: bytes) -> bytes:
    """The receipt's core: a COSE_Sign1 by the gateway's certified key."""
    receipt = ResponseReceipt(
        contract=contract,
        epoch=epoch,
        request=answered.request.digest(answered.salt),
        response=response_digest(answered.salt, answered.status, answered.body_digest),
        at=answered.at - answered.at % TIME_GRAIN,
    )
    return sign1(key, canonical.encode(receipt), content_type=RECEIPT_TYPE)


class ReceiptSigner:
    """Signs the receipts of one gateway, as `sign_receipt` does, in two thirds of its time.

    All receipts of a minute and an epoch are alike but for two digests and the signature, all of fixed sizes: the
    encoding is made once, and these are put in their places.
    """

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self._minute: tuple[bytes, bytes, int] = (b"", b"", -1)  # contract, epoch and time that the template is of
        self._template: _Template

    def sign(self, answered: Answered, *, contract: bytes, epoch: bytes) -> bytes:
        """The receipt's core, byte for byte what `sign_receipt` makes of it."""
        at = answered.at - answered.at % TIME_GRAIN
        if self._minute != (contract, epoch, at):
            self._minute = (contract, epoch, at)
            self._template = _template(self._key.public, contract=contract, epoch=epoch, at=at)
        made = self._template
        request = answered.request.digest(answered.salt)
        response = response_digest(answered.salt, answered.status, answered.body_digest)
        payload = b"".join((made.first, request, made.second, response, made.third))
        signature = self._key.sign(made.signed + payload)
        return b"".join((made.before, payload, made.after, signature))


class _Template(NamedTuple):
    """What surrounds the digests in a payload, the payload in what is signed, and both in the message."""

    first: bytes
    second: bytes
    third: bytes
    signed: bytes
    before: bytes
    after: bytes


_REQUEST: Final = hashlib.sha256(b"stands in for a request").digest()  # while a template is made
_RESPONSE: Final = hashlib.sha256(b"stands in for an answer").digest()
_SIGNATURE: Final = b"\x03" * 64


def _template(public: bytes, *, contract: bytes, epoch: bytes, at: int) -> _Template:
    receipt = ResponseReceipt(contract=contract, epoch=epoch, request=_REQUEST, response=_RESPONSE, at=at)
    payload = canonical.encode(receipt)
    first, _, rest = payload.partition(_REQUEST)
    second, _, third = rest.partition(_RESPONSE)
    protected = protected_header(content_type=RECEIPT_TYPE, kid=public)
    signed = sig_structure(protected, payload).removesuffix(payload)
    message = CoseSign1(protected, RECEIPT_TYPE, public, payload, _SIGNATURE).encode()
    before, _, after = message.partition(payload)
    return _Template(first, second, third, signed, before, after.removesuffix(_SIGNATURE))
