"""Tokens of other makers' verifiers, taken apart (RFC 7515, RFC 7519): what of their headers is read, and what is not.

Our own tokens have headers of one kind (`formats.jws`). Others say where their keys are (`jku`, `kid`, `x5u`), which is
passed over: whose keys count is the reader's to say. A chain of certificates (`x5c`) is handed on, for a pinned root.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.jws import split_token
from cloister.formats.strict_json import parse_strict_json

MAXIMUM_JWT_HEADER: Final = 24 * 1024  # bytes of its JSON, a chain of certificates with it
MAXIMUM_JWT_CLAIMS: Final = 32 * 1024  # bytes of the payload's JSON
MAXIMUM_JWT_CHAIN: Final = 5  # certificates


class JwtHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a header; nothing of it is believed."""

    alg: Annotated[str, msgspec.Meta(max_length=32)]
    typ: Annotated[str, msgspec.Meta(max_length=128)] = ""
    x5c: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAXIMUM_JWT_CHAIN)] = ()

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates in DER, the signer's first.

        Raises:
            MalformedInput: one is not base64 in its one spelling (RFC 7515 section 4.1.6).
        """
        return tuple(map(_certificate, self.x5c))


@dataclass(frozen=True, slots=True)
class Jwt:
    """A token taken apart; its signature is not checked yet."""

    header: JwtHeader
    chain: tuple[bytes, ...]  # DER
    payload: bytes
    signature: bytes
    signed: bytes  # what the signature is over


def parse_jwt(token: bytes) -> Jwt:
    """Take `token`, at most 64 KiB of ASCII, apart.

    Raises:
        TooLarge, MalformedInput: not a compact JWS, or one with extensions that have to be understood.
    """
    header, payload, signature, signed = split_token(token)
    members = parse_strict_json(header, limit=MAXIMUM_JWT_HEADER)
    if isinstance(members, dict) and "crit" in members:
        raise MalformedInput("crit names extensions that must be understood, and none is")
    try:
        read = msgspec.convert(members, JwtHeader, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise MalformedInput(f"not the header of a token: {error}") from error
    return Jwt(read, read.chain, payload, signature, signed)


def parse_jwt_members(payload: bytes) -> dict[str, Any]:
    """The claims of a token, at most 32 KiB of JSON, each member once, whole numbers only.

    Raises:
        TooLarge, MalformedInput: no such object.
    """
    members = parse_strict_json(payload, limit=MAXIMUM_JWT_CLAIMS)
    if not isinstance(members, dict):
        raise MalformedInput("a token's claims are an object")
    return members


def _certificate(text: str) -> bytes:
    try:
        data = b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise MalformedInput("x5c holds what is not base64") from error
    if b64encode(data) != text.encode():
        raise MalformedInput("x5c holds base64 in another spelling")
    return data
