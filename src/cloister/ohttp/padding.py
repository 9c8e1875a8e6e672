"""Lengths that messages are given, so that they tell less of what is inside.

Standard: Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019). A
padded length tells O(log log L) bits of the true one, and is at most 12 % longer. Answers have a floor besides, so that
errors and short answers are all of one length. Strict: powers of two from a floor.
"""

from __future__ import annotations

from typing import Final

from cloister.errors import TooLarge

ANSWER_FLOOR: Final = 2048  # bytes: more than any error of a gateway's or an engine's has, with its receipt
STRICT_FLOOR: Final = 16_384  # bytes: most conversations fit, and one chunk holds it
# The last bucket is no power of two: relays and gateways take no request over 32 MiB, with what goes around it.
STRICT_LARGEST: Final = 28 * 1024 * 1024


def padded_length(length: int) -> int:
    """The smallest Padmé length that is not below `length` bytes (algorithm 1; 0 and 1 are their own)."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def padded_answer_length(length: int) -> int:
    """The same of an answer, whose lengths begin at `ANSWER_FLOOR`."""
    return max(ANSWER_FLOOR, padded_length(length))


def strict_length(length: int) -> int:
    """The smallest power of two from `STRICT_FLOOR` on, at last `STRICT_LARGEST`, that is not below `length` bytes.

    Raises:
        TooLarge: it is over `STRICT_LARGEST`.
    """
    if length > STRICT_LARGEST:
        raise TooLarge(f"a message of {length} bytes, the cap under strict privacy is {STRICT_LARGEST}")
    return min(max(STRICT_FLOOR, 1 << (length - 1).bit_length()), STRICT_LARGEST)


def pad(message: bytes) -> bytes:
    """An encoded Binary HTTP message, with zeros up to its Padmé length.

    RFC 9292 section 3.8: "Messages can be padded with any number of zero-valued bytes."
    """
    return message + bytes(padded_length(len(message)) - len(message))
