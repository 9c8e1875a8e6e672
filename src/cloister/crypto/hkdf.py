"""HKDF-SHA256 (RFC 5869), its two steps apart.

`hmac.digest` is used because it calls OpenSSL once; an HMAC object costs three times as much and every request opened
by a gateway takes about ten of them.
"""

from __future__ import annotations

from hmac import digest
from typing import Final

from cloister.errors import UsageError

HASH_SIZE: Final = 32
LIMIT: Final = 255 * HASH_SIZE  # bytes that one pseudorandom key expands to


def extract(salt: bytes, ikm: bytes) -> bytes:
    """A pseudorandom key of 32 bytes from input keying material (section 2.2)."""
    return digest(salt, ikm, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """`length` bytes, 0 to 8,160, from a pseudorandom key (section 2.3).

    Raises:
        UsageError: `length` is out of that range.
    """
    if not 0 <= length <= LIMIT:
        raise UsageError(f"HKDF-SHA256 gives 0 to {LIMIT} bytes, not {length}")
    if length <= HASH_SIZE:
        return digest(prk, info + b"\x01", "sha256")[:length]
    output = block = b""
    for counter in range(1, -(-length // HASH_SIZE) + 1):
        block = digest(prk, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]
