"""Streams sealed in segments: Tink's AES256_GCM_HKDF_1MB, on the wire as Tink writes it.

    header: 1 byte, 40 · salt, 32 bytes · nonce prefix, 7 bytes
    segments: AES-256-GCM ciphertext and tag; 1 MiB each, the first shorter by the header, the last as it comes

The segments' key is HKDF-SHA256 of the data key, with the salt, and what the stream is for as its info. A nonce is the
prefix, the segment's number (4 bytes) and 1 in the last segment, 0 before: so that no segment can be moved, and the
last cannot be left out. Each opens by itself, and several threads may share one stream. Of whole streams, files and
chance this module knows nothing: who seals draws a salt and a prefix for each stream, and seals each segment once.

Source: developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloister.crypto import hkdf
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput
from cloister.secret import SecretBytes

KEY_SIZE: Final = 32  # bytes
SALT_SIZE: Final = 32
PREFIX_SIZE: Final = 7
HEADER_SIZE: Final = 1 + SALT_SIZE + PREFIX_SIZE
TAG_SIZE: Final = 16
SEGMENT: Final = 1 << 20  # bytes of ciphertext, with its tag
PLAIN_SEGMENT: Final = SEGMENT - TAG_SIZE
_FIRST: Final = PLAIN_SEGMENT - HEADER_SIZE  # bytes of plaintext in the first one
MAXIMUM_SIZE: Final = 1 << 44  # bytes of plaintext, 16 TiB: far below the 2^32 segments that the numbers count


class SegmentBroken(BadSignature):
    """A segment does not open: it was altered, cut or moved, or is another stream's or key's."""


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What stands in the clear before a stream's segments."""

    salt: bytes  # 32 bytes, drawn for this stream
    prefix: bytes  # 7 bytes, drawn for this stream

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a header of 40 bytes.

        Raises:
            MalformedInput: it is none.
        """
        if len(data) != HEADER_SIZE or data[0] != HEADER_SIZE:
            raise MalformedInput(f"a sealed stream begins with a header of {HEADER_SIZE} bytes that says so")
        return cls(data[1 : 1 + SALT_SIZE], data[1 + SALT_SIZE :])

    def encode(self) -> bytes:
        """The header's bytes."""
        return bytes([HEADER_SIZE]) + self.salt + self.prefix


def segments(size: int) -> int:
    """How many segments so many bytes of plaintext have: one at least."""
    return 1 + max(0, -(-(size - _FIRST) // PLAIN_SEGMENT))


def sealed_size(size: int) -> int:
    """The bytes of a whole stream over so many bytes of plaintext."""
    return HEADER_SIZE + size + TAG_SIZE * segments(size)


def segment_at(offset: int) -> int:
    """The number of the segment that holds the plaintext's byte at `offset`."""
    return (offset + HEADER_SIZE) // PLAIN_SEGMENT


def first_segment_from(offset: int) -> int:
    """The number of the first segment that begins at the plaintext's `offset` or behind it."""
    return 0 if offset == 0 else -(-(offset + HEADER_SIZE) // PLAIN_SEGMENT)


@final
class SealedStream:
    """One stream over `size` bytes of plaintext: where its segments lie, and what seals and opens them."""

    __slots__ = ("_cipher", "_prefix", "last", "size")

    def __init__(self, key: SecretBytes, head: StreamHead, *, associated: bytes, size: int) -> None:
        """`associated` says what the stream is for; it opens under the same alone.

        Raises:
            ValueError: a size is wrong.
        """
        if len(key) != KEY_SIZE or len(head.salt) != SALT_SIZE or len(head.prefix) != PREFIX_SIZE:
            raise ValueError(f"a data key has {KEY_SIZE} bytes, a salt {SALT_SIZE}, a prefix {PREFIX_SIZE}")
        if not 0 <= size <= MAXIMUM_SIZE:
            raise ValueError(f"a stream has up to {MAXIMUM_SIZE} bytes")
        self._cipher = AESGCM(hkdf.expand(hkdf.extract(head.salt, key.reveal()), associated, 32))
        self._prefix = head.prefix
        self.size = size
        self.last = segments(size) - 1  # the last segment's number

    def span(self, number: int) -> tuple[int, int]:
        """Where a segment's plaintext begins and ends."""
        begin = 0 if number == 0 else number * PLAIN_SEGMENT - HEADER_SIZE
        return begin, min(self.size, (number + 1) * PLAIN_SEGMENT - HEADER_SIZE)

    def place(self, number: int) -> tuple[int, int]:
        """Where a segment begins in the stream's bytes, and how many it has."""
        begin, end = self.span(number)
        return (HEADER_SIZE if number == 0 else number * SEGMENT), end - begin + TAG_SIZE

    def seal_into(self, number: int, plain: memoryview, room: memoryview) -> None:
        """Seal a segment, once in a stream's life; `room` has 16 bytes more than `plain`."""
        self._cipher.encrypt_into(self._nonce(number), plain, None, room)

    def open_into(self, number: int, sealed: memoryview, room: memoryview) -> None:
        """Open a segment; `room` has 16 bytes less than `sealed`.

        Raises:
            SegmentBroken: it is not this stream's segment of that number; what is in `room` then means nothing.
        """
        try:
            self._cipher.decrypt_into(self._nonce(number), sealed, None, room)
        except InvalidTag as error:
            raise SegmentBroken(f"segment {number} of {self.last + 1} does not open") from error

    def _nonce(self, number: int) -> bytes:
        return self._prefix + number.to_bytes(4, "big") + bytes([number == self.last])

    def __repr__(self) -> str:
        return f"<SealedStream of {self.size} bytes>"
