"""Chunked transfer coding (RFC 9112 section 7.1), decoded as it arrives and encoded.

Pure, and strict where two readers could differ: sizes are hexadecimal digits, nothing stands between them and an
extension, lines end in CR LF. Extensions and trailers are checked, counted and dropped.
"""

from __future__ import annotations

import re
from typing import Final

from cloister.errors import MalformedInput
from cloister.hosting.http_head import MAXIMUM_HEAD, HeadTooLarge

MAXIMUM_LINE: Final = 256  # bytes of a chunk's size and extensions
END: Final = b"0\r\n\r\n"

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8}+)(?:;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
_TRAILERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*\r\n")


def encode_chunk(data: bytes) -> bytes:
    """One chunk; `data` is not empty, for an empty chunk ends a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ChunkDecoder:
    """One body. After `finished`, `rest` is what came behind it."""

    __slots__ = ("_kept", "_left", "_trailing", "finished", "rest")

    def __init__(self) -> None:
        self._kept = b""  # of a line that has not ended
        self._left = 0  # bytes of the chunk that have yet to come, its CR LF too
        self._trailing = False
        self.finished = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The content that `data` brings, perhaps none; not to be called once `finished`.

        Raises:
            MalformedInput: this is no chunked coding.
            HeadTooLarge: trailers over `MAXIMUM_HEAD` bytes.
        """
        data = self._kept + data if self._kept else data
        self._kept = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data) and not self._trailing:
            at = self._content(data, at, pieces) if self._left else self._size(data, at)
        if self._trailing and not self.finished:
            self._trailers(data[at:])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _content(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take what is left of a chunk and its CR LF; where the next line begins."""
        here = min(self._left, len(data) - at)
        content = min(self._left - 2, here)
        if content > 0:
            pieces.append(data[at : at + content])
        ending = max(content, 0)
        expected = b"\r\n"[2 - min(self._left - ending, 2) :]
        if not expected.startswith(data[at + ending : at + here]):
            raise MalformedInput("a chunk is longer than it says")
        self._left -= here
        return at + here

    def _size(self, data: bytes, at: int) -> int:
        """Take the line before a chunk; where its content begins."""
        found = _SIZE.match(data, at, at + MAXIMUM_LINE)
        if found is None:
            line = data[at : at + MAXIMUM_LINE]
            if len(line) == MAXIMUM_LINE or b"\n" in line or not _may_be_size(line):
                raise MalformedInput("a chunk begins with its size in hexadecimal digits")
            self._kept = line
            return len(data)
        size = int(found[1], 16)
        self._left = size + 2 if size else 0
        self._trailing = size == 0
        return found.end()

    def _trailers(self, data: bytes) -> None:
        found = _TRAILERS.match(data, 0, MAXIMUM_HEAD)
        if found is not None:
            self.finished, self.rest = True, data[found.end() :]
        elif len(data) >= MAXIMUM_HEAD:
            raise HeadTooLarge(f"trailers over the cap of {MAXIMUM_HEAD} bytes")
        elif b"\r\n\r\n" in data or data.count(b"\n") != data.count(b"\r\n"):
            raise MalformedInput("these are no trailers")
        else:
            self._kept = data


def _may_be_size(line: bytes) -> bool:
    return re.match(rb"[0-9A-Fa-f]{1,8}(?:;|\r?\Z)", line) is not None
