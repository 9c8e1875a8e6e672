"""Signed tokens in the compact serialisation (RFC 7515 section 7.1): one signature, one kind of header, one spelling.

The header holds exactly `alg`, `typ` and `kid`. Whatever else a header may say (`crit` and the extensions it names,
`jwk`, `jku`, `x5c`: keys that a token brings along) is refused: whose keys count is the reader's to say.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.strict_json import parse_strict_json

MAXIMUM_TOKEN: Final = 64 * 1024  # bytes
MAXIMUM_HEADER: Final = 1024  # bytes of its JSON

_ALPHABET: Final = re.compile(rb"[A-Za-z0-9_-]*")


class JwsHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The protected header; nothing of it is believed before `alg` and `kid` chose a key of the reader's own."""

    alg: Annotated[str, msgspec.Meta(max_length=32)]
    typ: Annotated[str, msgspec.Meta(max_length=128)]
    kid: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


@dataclass(frozen=True, slots=True)
class Jws:
    """A token taken apart; its signature is not checked yet."""

    header: JwsHeader
    payload: bytes
    signature: bytes  # empty where `alg` is none
    signed: bytes  # what the signature is over: the first two parts as they stand, with the dot between


def parse_jws(token: bytes) -> Jws:
    """Take `token`, at most 64 KiB of ASCII, apart.

    Raises:
        TooLarge, MalformedInput: not a compact JWS with a header of exactly `alg`, `typ` and `kid`.
    """
    header, payload, signature, signed = split_token(token)
    return Jws(_header(header), payload, signature, signed)


def split_token(token: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Header, payload and signature of a compact JWS of at most 64 KiB, and what the signature is over.

    Raises:
        TooLarge, MalformedInput: not three parts in base64url, each in its one spelling.
    """
    if len(token) > MAXIMUM_TOKEN:
        raise TooLarge(f"a token of {len(token)} bytes, the cap is {MAXIMUM_TOKEN}")
    parts = token.split(b".")
    if len(parts) != 3:
        raise MalformedInput(f"a token has three parts with dots between, this has {len(parts)}")
    header, payload, signature = (decode_base64url(part) for part in parts)
    return header, payload, signature, token[: len(parts[0]) + 1 + len(parts[1])]


def signing_input(header: JwsHeader, payload: bytes) -> bytes:
    """What is to be signed for a token of `header` and `payload`; the token is this, a dot, and the signature."""
    return encode_base64url(msgspec.json.encode(header)) + b"." + encode_base64url(payload)


def encode_base64url(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def decode_base64url(text: bytes) -> bytes:
    """What `text` encodes, in its one spelling.

    Raises:
        MalformedInput: another alphabet, padding, a length that no bytes have, or bits left over that are not zero.
    """
    if not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise MalformedInput("not base64url without padding")
    data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if encode_base64url(data) != text:  # the last character has bits that stand for nothing
        raise MalformedInput("base64url with bits left over")
    return data


def _header(data: bytes) -> JwsHeader:
    members = parse_strict_json(data, limit=MAXIMUM_HEADER)
    if isinstance(members, dict) and "crit" in members:
        raise MalformedInput("crit names extensions that must be understood, and none is")
    try:
        return msgspec.convert(members, JwsHeader, strict=True)
    except msgspec.ValidationError as error:
        raise MalformedInput(f"the header holds alg, typ and kid, and nothing else: {error}") from error
