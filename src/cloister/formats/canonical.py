"""Deterministic CBOR (RFC 8949 section 4.2.1) for every record of ours: one value has one encoding.

Records are frozen `msgspec.Struct`s with `forbid_unknown_fields`. A decoder that accepted a second spelling of the
same value would let two parties sign, hash and log different bytes for one meaning; so `decode` re-encodes what it
read and refuses any difference: other key order, longer integers, indefinite lengths, trailing bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import cbor2
import msgspec

from cloister.errors import MalformedInput, TooLarge

Record = TypeVar("Record", bound=msgspec.Struct)

Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]  # SHA-256
Measurement = Annotated[bytes, msgspec.Meta(min_length=48, max_length=48)]  # SHA-384
PublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]  # Ed25519, raw
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/+:@-]*$")]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # since 1970, or a duration
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

MAXIMUM_DEPTH = 16


def plain(data: bytes, *, limit: int) -> Any:
    """The value that deterministic CBOR `data` holds.

    Raises:
        TooLarge: `data` is longer than `limit` bytes; nothing was parsed.
        MalformedInput: not CBOR, or not its one deterministic encoding.
    """
    if len(data) > limit:
        raise TooLarge(f"{len(data)} bytes, the cap is {limit}")
    try:
        value = cbor2.loads(data, allow_indefinite=False, allow_duplicate_keys=False, max_depth=MAXIMUM_DEPTH)
        again = cbor2.dumps(value, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not CBOR: {error}") from error
    if again != data:
        raise MalformedInput("not in the deterministic encoding of RFC 8949 section 4.2.1")
    return value


def decode(data: bytes, record: type[Record], *, limit: int) -> Record:
    """Parse `data`, at most `limit` bytes, as `record`.

    Raises:
        TooLarge: over the cap.
        MalformedInput: not deterministic CBOR, or not this record's fields, types and sizes.
    """
    value = plain(data, limit=limit)
    try:
        return msgspec.convert(value, record, strict=True, builtin_types=(bytes,))
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not a {record.__name__}: {error}") from error


def encode(record: msgspec.Struct) -> bytes:
    """The one deterministic encoding of `record`."""
    return cbor2.dumps(msgspec.to_builtins(record, builtin_types=(bytes,)), canonical=True)
