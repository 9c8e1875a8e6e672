"""Signing and opening COSE_Sign1 messages (RFC 9052 section 4.4) with Ed25519."""

from __future__ import annotations

from cloister.crypto.signing import BadSignature, SigningKey, check_signature
from cloister.errors import MalformedInput
from cloister.formats.cose_sign1 import CoseSign1, protected_header, sig_structure


def sign1(key: SigningKey, payload: bytes, *, content_type: str, detached: bool = False) -> bytes:
    """`payload` signed by `key` under `content_type`; `detached` leaves the payload out of the message."""
    protected = protected_header(content_type=content_type, kid=key.public)
    signature = key.sign(sig_structure(protected, payload))
    return CoseSign1(protected, content_type, key.public, None if detached else payload, signature).encode()


def open1(data: bytes, *, public: bytes, content_type: str, payload: bytes | None = None) -> bytes:
    """The payload of `data`, once the signature by `public` under `content_type` holds.

    A detached payload is given as `payload`; a message that carries one must then be none.

    Raises:
        TooLarge, MalformedInput: not a COSE_Sign1, or the payload is neither here nor there, or in both places.
        BadSignature: another signer, another content type, or the signature does not hold.
    """
    return open_parsed(CoseSign1.parse(data), public=public, content_type=content_type, payload=payload)


def open_parsed(message: CoseSign1, *, public: bytes, content_type: str, payload: bytes | None = None) -> bytes:
    """As `open1`, of a message that is parsed already."""
    if (message.payload is None) == (payload is None):
        raise MalformedInput("the payload is either in the message or beside it")
    if message.kid != public:
        raise BadSignature(f"signed by {message.kid.hex()[:16]}…, not by {public.hex()[:16]}…")
    if message.content_type != content_type:
        raise BadSignature(f"signed as {message.content_type}, not as {content_type}")
    signed = message.payload if payload is None else payload
    if signed is None:
        raise MalformedInput("no payload")
    check_signature(public, message.signature, sig_structure(message.protected, signed))
    return signed
