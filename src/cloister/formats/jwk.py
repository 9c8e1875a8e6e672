"""The public keys that sign tokens, as a JWK Set (RFC 7517): P-384 for ES384 and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from cloister.errors import MalformedInput
from cloister.formats.jws import decode_base64url, encode_base64url
from cloister.formats.strict_json import parse_strict_json

MAXIMUM_KEY_SET: Final = 64 * 1024  # bytes
KEY_SET_TYPE: Final = "application/jwk-set+json"
COORDINATE_SIZE: Final = 48  # bytes

Coordinate = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]{64}\Z")]  # base64url of 48 bytes


class TokenKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key; members that a set may have beside these (RFC 7517 section 4) are passed over."""

    kty: Literal["EC"] = "EC"
    crv: Literal["P-384"] = "P-384"
    alg: Literal["ES384"]
    use: Literal["sig"]
    kid: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    x: Coordinate
    y: Coordinate


def encode_key_set(keys: Iterable[bytes]) -> bytes:
    """The JSON of a set of public keys, each x and y of 48 bytes, named by their thumbprints."""
    return msgspec.json.encode({"keys": [_token_key(key) for key in keys]})


def parse_key_set(data: bytes) -> Mapping[str, bytes]:
    """The ES384 keys of a set, at most 64 KiB of JSON, by `kid`: x and y, 96 bytes.

    Keys of other kinds are passed over, as RFC 7517 section 5 asks.

    Raises:
        TooLarge, MalformedInput: not a JWK Set, a `kid` comes twice, or one of the keys is a private one.
    """
    members = parse_strict_json(data, limit=MAXIMUM_KEY_SET)
    listed = members.get("keys") if isinstance(members, dict) else None
    if not isinstance(listed, list):
        raise MalformedInput("not a JWK Set: an object with the list keys")
    found: dict[str, bytes] = {}
    for one in listed:
        key = _read(one)
        if key is None:
            continue
        if key.kid in found:
            raise MalformedInput("two keys of the set have one kid")
        found[key.kid] = decode_base64url(key.x.encode()) + decode_base64url(key.y.encode())
    return found


def thumbprint(public: bytes) -> str:
    """The JWK thumbprint (RFC 7638) of a P-384 key, x and y, with SHA-256."""
    x, y = _coordinates(public)
    text = f'{{"crv":"P-384","kty":"EC","x":"{x}","y":"{y}"}}'
    return encode_base64url(hashlib.sha256(text.encode()).digest()).decode()


def _read(one: Any) -> TokenKey | None:
    if not isinstance(one, dict):
        raise MalformedInput("a key of the set is not an object")
    if "d" in one or "k" in one:
        raise MalformedInput("a key of the set is a private one: whoever reads it can sign tokens")
    if (one.get("kty"), one.get("crv"), one.get("alg"), one.get("use")) != ("EC", "P-384", "ES384", "sig"):
        return None
    try:
        return msgspec.convert(one, TokenKey, strict=True)
    except msgspec.ValidationError as error:
        raise MalformedInput(f"not a P-384 key: {error}") from error


def _token_key(public: bytes) -> TokenKey:
    x, y = _coordinates(public)
    return TokenKey(alg="ES384", use="sig", kid=thumbprint(public), x=x, y=y)


def _coordinates(public: bytes) -> tuple[str, str]:
    x, y = public[:COORDINATE_SIZE], public[COORDINATE_SIZE:]
    return encode_base64url(x).decode(), encode_base64url(y).decode()
