"""COSE_Sign1 (RFC 9052 section 4.2) as we use it: tagged 18, one Ed25519 signer named by key, a content type.

The protected header holds exactly `alg` (EdDSA), `content type` and `kid` (the raw 32-byte public key); nothing else
is understood, so nothing else is accepted. The unprotected header is empty. A nil payload is a detached one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cbor2

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical

TAG = 18
ALG, CONTENT_TYPE, KID = 1, 3, 4
EDDSA = -8
_DETACHED_HEAD = b"\xd2\x84\x58"  # tag 18, an array of four, a byte string with a length of one byte
_NO_PAYLOAD = b"\xa0\xf6\x58\x40"  # an empty map, nil, a byte string of 64
MAXIMUM_COSE = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class CoseSign1:
    """One signed message; the signature is not checked yet."""

    protected: bytes  # the protected header as signed
    content_type: str
    kid: bytes  # 32 bytes
    payload: bytes | None  # None: detached
    signature: bytes  # 64 bytes

    @classmethod
    def parse(cls, data: bytes) -> CoseSign1:
        """Parse `data`, at most 1 MiB.

        Raises:
            TooLarge, MalformedInput: not a COSE_Sign1 of this profile.
        """
        return cls._detached(data) or cls._parse(data)

    @classmethod
    def _detached(cls, data: bytes) -> CoseSign1 | None:
        """As `_parse`, of the one form that every signature in a log has: its bytes are where its lengths say."""
        if len(data) < 4 + 24 + 68 or data[:3] != _DETACHED_HEAD or data[3] < 24:
            return None
        end = 4 + data[3]
        if len(data) != end + 68 or data[end : end + 4] != _NO_PAYLOAD:
            return None
        protected = data[4:end]
        content_type, kid = _protected(protected)
        return cls(protected, content_type, kid, None, data[end + 4 :])

    @classmethod
    def _parse(cls, data: bytes) -> CoseSign1:
        message = canonical.plain(data, limit=MAXIMUM_COSE)
        if not isinstance(message, cbor2.CBORTag) or message.tag != TAG:
            raise MalformedInput("not tagged as COSE_Sign1 (18)")
        parts = message.value
        if not isinstance(parts, (list, tuple)) or len(parts) != 4:
            raise MalformedInput("a COSE_Sign1 has four parts")
        protected, unprotected, payload, signature = parts
        if not isinstance(protected, bytes) or not isinstance(signature, bytes) or len(signature) != 64:
            raise MalformedInput("a COSE_Sign1 of ours has a protected header and a signature of 64 bytes")
        if unprotected != {} or not isinstance(payload, (bytes, type(None))):
            raise MalformedInput("its unprotected header is empty, its payload bytes or nil")
        content_type, kid = _protected(protected)
        return cls(protected, content_type, kid, payload, signature)

    def encode(self) -> bytes:
        """The tagged encoding."""
        parts: list[object] = [self.protected, {}, self.payload, self.signature]
        return cbor2.dumps(cbor2.CBORTag(TAG, parts), canonical=True)


def protected_header(*, content_type: str, kid: bytes) -> bytes:
    """The protected header that is signed."""
    return cbor2.dumps({ALG: EDDSA, CONTENT_TYPE: content_type, KID: kid}, canonical=True)


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    """What is signed (RFC 9052 section 4.4), with no external data."""
    return cbor2.dumps(["Signature1", protected, b"", payload], canonical=True)


@lru_cache(maxsize=256)  # one signer's header is the same in all that it signs: of a log's entries, half the parsing
def _protected(data: bytes) -> tuple[str, bytes]:
    try:
        header = canonical.plain(data, limit=1024)
    except TooLarge as error:
        raise MalformedInput("the protected header is over 1,024 bytes") from error
    content_type, kid = (header.get(CONTENT_TYPE), header.get(KID)) if isinstance(header, dict) else (None, None)
    if not isinstance(content_type, str) or not isinstance(kid, bytes) or len(kid) != 32:
        raise MalformedInput("the protected header names a content type as text and a key of 32 bytes")
    # Compared as bytes: in Python True equals 1 and -8.0 equals -8.
    if data != protected_header(content_type=content_type, kid=kid):
        raise MalformedInput("the protected header holds alg EdDSA, content type and kid, and nothing else")
    return content_type, kid
