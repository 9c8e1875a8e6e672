"""Response receipts: who answered what, without saying it (docs/formats/response-receipt.md)."""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import Annotated, Literal

import cbor2
import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Seconds
from cloister.formats.key_bundle import MAXIMUM_BUNDLE

RECEIPT_TYPE = "application/vnd.cloister.response-receipt+cbor"
RECEIPT_HEADER = "cloister-receipt"  # base64 of the COSE_Sign1 core; travels inside the sealed answer
SALT_HEADER = "cloister-receipt-salt"  # base64 of 32 bytes; beside it
TIME_GRAIN = 60  # seconds; a receipt's time says no more

# What a client may ask for: a contract's path, with names in the places of its `{id}`.
AskedPath = Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9/_.:-]{0,200}\Z")]
PartName = Annotated[str, msgspec.Meta(max_length=256)]


class PartDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a request: a form field's name (empty for a body that is no form) and the SHA-256 of its content."""

    name: PartName
    digest: Digest


class RequestSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the request digest covers."""

    method: Annotated[str, msgspec.Meta(min_length=1, max_length=16)]
    path: AskedPath
    parts: Annotated[tuple[PartDigest, ...], msgspec.Meta(max_length=256)]

    def digest(self, salt: bytes) -> bytes:
        """Salted SHA-256, 32 bytes: without the salt nobody can try guesses against a receipt."""
        return salted(b"cloister request v1", salt, self.encode())

    def encode(self) -> bytes:
        """What `canonical.encode` makes of it, written out: that takes four times as long, and every answer needs it.

        Keys come in the order of their encodings: `path`, `parts`, `method`, and of a part `name`, `digest`.
        """
        encoded = [b"\xa3\x64path", _text(self.path), b"\x65parts", _head(0x80, len(self.parts))]
        for part in self.parts:
            encoded += (b"\xa2\x64name", _text(part.name), b"\x66digest\x58\x20", part.digest)
        encoded += (b"\x66method", _text(self.method))
        return b"".join(encoded)


class ResponseReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The core: COSE_Sign1 by the gateway's certified key."""

    version: Literal[1] = 1
    contract: Digest  # in force
    epoch: Digest  # SHA-256 of the entry of the epoch whose key opened the request
    request: Digest  # salted
    response: Digest  # salted
    at: Seconds  # rounded down to 60 s


class StoredReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client keeps: the core, what opens its digests, and the bundle it examined. Judged offline for good."""

    version: Literal[1] = 1
    core: Annotated[bytes, msgspec.Meta(min_length=1, max_length=1024)]
    salt: Digest
    request: RequestSummary
    status: Annotated[int, msgspec.Meta(ge=100, le=599)]
    bundle: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_BUNDLE)]


def salted(tag: bytes, salt: bytes, data: bytes) -> bytes:
    """SHA-256 over tag, salt and data, each behind its length in 4 bytes."""
    lengths = struct.pack(">3I", len(tag), len(salt), len(data))
    return hashlib.sha256(b"".join((lengths[:4], tag, lengths[4:8], salt, lengths[8:], data))).digest()


def response_digest(salt: bytes, status: int, body_digest: bytes) -> bytes:
    """The salted digest of an answer, 32 bytes; `body_digest` is the SHA-256 of its body."""
    return salted(b"cloister response v1", salt, _status(status) + body_digest)


@lru_cache(maxsize=512)
def _status(status: int) -> bytes:
    """What stands before the digest in the deterministic CBOR of `[status, digest]`."""
    return cbor2.dumps([status, bytes(32)], canonical=True)[:-32]


def _text(text: str) -> bytes:
    data = text.encode()
    return _head(0x60, len(data)) + data


def _head(major: int, count: int) -> bytes:
    """The head of a CBOR item (RFC 8949 section 3) of less than 65,536 bytes or entries."""
    if count < 24:
        return bytes((major + count,))
    return bytes((major + 24, count)) if count < 256 else bytes((major + 25, count >> 8, count & 255))


def parse_response_receipt(data: bytes) -> ResponseReceipt:
    """Parse the payload of a receipt's core."""
    return canonical.decode(data, ResponseReceipt, limit=1024)


def parse_stored_receipt(data: bytes) -> StoredReceipt:
    """Parse a receipt file, at most 5 MiB."""
    return canonical.decode(data, StoredReceipt, limit=5 * 1024 * 1024)
