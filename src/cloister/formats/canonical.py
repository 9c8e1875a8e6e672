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
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/+:@-]*\Z")]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # since 1970, or a duration
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

MAXIMUM_DEPTH = 16
MAXIMUM_ITEMS = 2**17  # of one record, keys counted too: to read and to write one again takes a microsecond
COSE_SIGN1 = 18  # the tag
_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6  # major types
_ONE_BYTE, _EIGHT_BYTES = 24, 27


def plain(data: bytes, *, limit: int, items: int = MAXIMUM_ITEMS) -> Any:
    """The value that deterministic CBOR `data` of at most so many `items` holds.

    Raises:
        TooLarge: `data` is longer than `limit` bytes; nothing was parsed.
        MalformedInput: not CBOR, or not its one deterministic encoding.
    """
    if len(data) > limit:
        raise TooLarge(f"{len(data)} bytes, the cap is {limit}")
    require_plain_items(data, items=items)
    try:
        value = cbor2.loads(data, allow_indefinite=False, allow_duplicate_keys=False, max_depth=MAXIMUM_DEPTH)
        again = cbor2.dumps(value, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not CBOR: {error}") from error
    if again != data:
        raise MalformedInput("not in the deterministic encoding of RFC 8949 section 4.2.1")
    return value


def require_plain_items(data: bytes, *, items: int = MAXIMUM_ITEMS) -> None:
    """Hold the heads of all items of `data`, in one pass, against what a reader may safely be given.

    No tag but COSE_Sign1's: shared references multiply (600 bytes become millions of items), and big integers as keys
    of a map can be made to collide, as arrays can. What is no CBOR at all is for the reader to say.

    Raises:
        MalformedInput: another tag, an indefinite length, a map key that is no text, bytes or integer, nesting
            deeper than 16, or more items than `items`, counted as arrays and maps say how long they are.
    """
    at, left = 0, [(1, False)]  # items that are still to come in each open array, map or tag; whether it is a map
    while left and at < len(data):
        count, is_map = left.pop()
        if not count:
            continue
        left.append((count - 1, is_map))
        major, value, at = _head(data, at)
        if is_map and count % 2 == 0 and major > _TEXT:
            raise MalformedInput("a key of a map is text, bytes or an integer")
        if major in (_BYTES, _TEXT):
            at += value
        elif major in (_ARRAY, _MAP, _TAG):
            if major == _TAG and value != COSE_SIGN1:
                raise MalformedInput(f"tag {value}, which no object of ours has")
            inside = 1 if major == _TAG else value * (1 + (major == _MAP))
            items -= inside
            if items < 0:
                raise MalformedInput("more items than any record of this kind has")
            left.append((inside, major == _MAP))
            if len(left) > MAXIMUM_DEPTH + 1:
                raise MalformedInput(f"items nested deeper than {MAXIMUM_DEPTH}")


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """An item's major type and argument, and where its head ends (RFC 8949 section 3)."""
    major, short = data[at] >> 5, data[at] & 31
    if short < _ONE_BYTE:
        return major, short, at + 1
    if short > _EIGHT_BYTES:
        raise MalformedInput("an indefinite length, or a reserved one")
    end = at + 1 + (1 << (short - _ONE_BYTE))
    return major, int.from_bytes(data[at + 1 : end], "big"), end


def decode(data: bytes, record: type[Record], *, limit: int, items: int = MAXIMUM_ITEMS) -> Record:
    """Parse `data`, at most `limit` bytes and `items` items, as `record`.

    Raises:
        TooLarge: over the cap.
        MalformedInput: not deterministic CBOR, or not this record's fields, types and sizes.
    """
    value = plain(data, limit=limit, items=items)
    try:
        return msgspec.convert(value, record, strict=True, builtin_types=(bytes,))
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not a {record.__name__}: {error}") from error


def encode(record: msgspec.Struct) -> bytes:
    """The one deterministic encoding of `record`."""
    return cbor2.dumps(msgspec.to_builtins(record, builtin_types=(bytes,)), canonical=True)
