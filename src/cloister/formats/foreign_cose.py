"""COSE_Sign1 (RFC 9052 section 4.2) as others write it: statements and receipts that are not of our profile.

Read in any definite-length encoding without duplicate keys, tagged 18, with one of three algorithms and with whatever
other labels its header has, unless one of them is critical. What is signed is kept as the bytes that came.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical

TAG: Final = 18
ALG, CRIT, CONTENT_TYPE, KID, CWT_CLAIMS = 1, 2, 3, 4, 15  # header labels (RFC 9052 section 3.1, RFC 9597)
ISSUER, SUBJECT = 1, 2  # CWT claims (RFC 8392 section 3.1)
EDDSA, ES256, ES384 = -8, -7, -35
SIGNATURE_SIZES: Final = {EDDSA: 64, ES256: 64, ES384: 96}  # bytes


@dataclass(frozen=True, slots=True)
class ForeignSign1:
    """One signed message; the signature is not checked yet."""

    protected: bytes  # the protected header as signed
    header: Mapping[object, Any]  # what it holds
    unprotected: object
    payload: bytes | None  # None: detached
    signature: bytes

    @property
    def algorithm(self) -> int:
        """One of `SIGNATURE_SIZES`."""
        found: int = self.header[ALG]
        return found

    @property
    def kid(self) -> bytes | None:
        """How the signer names its key; a hint, which nothing here believes."""
        found: bytes | None = self.header.get(KID)
        return found

    def claim(self, number: int) -> str | None:
        """A CWT claim of the protected header that is text."""
        claims = self.header.get(CWT_CLAIMS)
        found = claims.get(number) if isinstance(claims, Mapping) else None
        return found if isinstance(found, str) else None


def parse_foreign_sign1(data: bytes, *, limit: int) -> ForeignSign1:
    """Parse a message of at most `limit` bytes.

    Raises:
        TooLarge, MalformedInput: not a COSE_Sign1, or not of one of the three algorithms.
    """
    if len(data) > limit:
        raise TooLarge(f"a COSE_Sign1 of {len(data)} bytes, the cap is {limit}")
    message = decode_foreign(data)
    parts = message.value if isinstance(message, cbor2.CBORTag) and message.tag == TAG else None
    if not isinstance(parts, (list, tuple)) or len(parts) != 4:
        raise MalformedInput("not a COSE_Sign1 tagged 18, of four parts")
    protected, unprotected, payload, signature = parts
    if not isinstance(protected, bytes) or not isinstance(payload, (bytes, type(None))):
        raise MalformedInput("a protected header is bytes, a payload bytes or nil")
    header = _header(protected)
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_SIZES[header[ALG]]:
        raise MalformedInput(f"a signature of algorithm {header[ALG]} has {SIGNATURE_SIZES[header[ALG]]} bytes")
    return ForeignSign1(protected, header, unprotected, payload, signature)


def is_number(value: object, number: int) -> bool:
    """In Python True equals 1 and 1.0 does too; on the wire they are other values."""
    return type(value) is int and value == number


def decode_foreign(data: bytes) -> Any:
    """The one item that `data` is, in any definite-length encoding.

    Raises:
        MalformedInput: it is none, or has what no object here has (`canonical.require_plain_items`).
    """
    canonical.require_plain_items(data)
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream, allow_indefinite=False, allow_duplicate_keys=False, max_depth=8).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not CBOR: {error}") from error
    if stream.read(1):
        raise MalformedInput("bytes after the end")
    return value


def _header(data: bytes) -> Mapping[object, Any]:
    header = decode_foreign(data)
    if not isinstance(header, Mapping) or CRIT in header:
        raise MalformedInput("the protected header is a map without critical labels")
    if not any(is_number(header.get(ALG), known) for known in SIGNATURE_SIZES):
        raise MalformedInput("the algorithm is none of EdDSA (-8), ES256 (-7) and ES384 (-35)")
    if not isinstance(header.get(KID), (bytes, type(None))):
        raise MalformedInput("a key id is bytes")
    return header
