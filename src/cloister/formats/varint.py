"""Variable-length integers of QUIC (RFC 9000 section 16): 1, 2, 4 or 8 bytes, the first two bits say which."""

from __future__ import annotations

from typing import Final

from cloister.errors import MalformedInput, UsageError

LIMIT: Final = 2**62  # one above the largest


class CutShort(MalformedInput):
    """The bytes end before what they began is whole; where more may come, this says to wait for it."""


def encode(value: int) -> bytes:
    """The shortest encoding of `value`.

    Raises:
        UsageError: `value` is not in 0 .. 2^62 - 1.
    """
    if 0 <= value < 1 << 6:
        return bytes((value,))
    if 0 <= value < 1 << 14:
        return (value | 1 << 14).to_bytes(2, "big")
    if 0 <= value < 1 << 30:
        return (value | 2 << 30).to_bytes(4, "big")
    if 0 <= value < LIMIT:
        return (value | 3 << 62).to_bytes(8, "big")
    raise UsageError(f"a variable-length integer is 0 to 2^62 - 1, not {value}")


def decode(data: bytes | bytearray | memoryview, at: int) -> tuple[int, int]:
    """The integer that starts at `at`, and where it ends; longer encodings than needed are integers too.

    Raises:
        CutShort: the bytes end before it does.
    """
    if at >= len(data):
        raise CutShort("an integer is missing")
    first = data[at]
    if first < 1 << 6:
        return first, at + 1
    end = at + (1 << (first >> 6))
    if end > len(data):
        raise CutShort("an integer is cut short")
    return int.from_bytes(data[at:end], "big") & ((1 << (8 * (end - at) - 2)) - 1), end
