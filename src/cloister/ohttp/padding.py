"""Padmé lengths (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019).

A padded length tells O(log log L) bits of the true one, and is at most 12 % longer.
"""

from __future__ import annotations


def padded_length(length: int) -> int:
    """The smallest Padmé length that is not below `length` bytes (algorithm 1; 0 and 1 are their own)."""
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask


def pad(message: bytes) -> bytes:
    """An encoded Binary HTTP message, with zeros up to its Padmé length.

    RFC 9292 section 3.8: "Messages can be padded with any number of zero-valued bytes."
    """
    return message + bytes(padded_length(len(message)) - len(message))
