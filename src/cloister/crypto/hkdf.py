"""HKDF-SHA256 (RFC 5869), its two steps apart.

HMAC is put together from two SHA-256 here (RFC 2104): every request that a gateway opens takes about ten, and
`hmac.digest` costs 1.6 times as much, since OpenSSL looks the algorithm up each time; an HMAC object costs five times.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from cloister.errors import UsageError

HASH_SIZE: Final = 32
LIMIT: Final = 255 * HASH_SIZE  # bytes that one pseudorandom key expands to
_BLOCK: Final = 64  # bytes that SHA-256 takes at a time
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def extract(salt: bytes, ikm: bytes) -> bytes:
    """A pseudorandom key of 32 bytes from input keying material (section 2.2): "HMAC-Hash(salt, IKM)".

    HMAC-SHA256 (RFC 2104 section 2) is "H(K XOR opad, H(K XOR ipad, text))".
    """
    if len(salt) > _BLOCK:
        salt = sha256(salt).digest()
    key = salt.ljust(_BLOCK, b"\0")
    return sha256(key.translate(_OUTER) + sha256(key.translate(_INNER) + ikm).digest()).digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """`length` bytes, 0 to 8,160, from a pseudorandom key (section 2.3).

    Raises:
        UsageError: `length` is out of that range.
    """
    if not 0 <= length <= LIMIT:
        raise UsageError(f"HKDF-SHA256 gives 0 to {LIMIT} bytes, not {length}")
    if length <= HASH_SIZE:  # HKDF-Extract is HMAC itself, which each block is too
        return extract(prk, info + b"\x01")[:length]
    output = block = b""
    for counter in range(1, -(-length // HASH_SIZE) + 1):
        block = extract(prk, block + info + bytes([counter]))
        output += block
    return output[:length]


def blocks(prk: bytes, infos: tuple[bytes, ...]) -> list[bytes]:
    """The first 32 bytes that `expand` gives for each of `infos`: what they share is computed once."""
    key = prk.ljust(_BLOCK, b"\0")
    inner, outer = key.translate(_INNER), key.translate(_OUTER)
    return [sha256(outer + sha256(b"".join((inner, info, b"\x01"))).digest()).digest() for info in infos]
