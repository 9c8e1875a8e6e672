"""Chunked transfer coding (RFC 9112 section 7.1), taken apart as it arrives in a buffer whose owner wipes it.

`http_chunks` does the same for bytes. Here nothing is copied, and stricter rules make that short: no extensions, no
trailers, sizes of at most 15 hexadecimal digits.
"""

from __future__ import annotations

import re
from typing import Final

from cloister.errors import MalformedInput

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_UNFINISHED: Final = re.compile(rb"[0-9A-Fa-f]{0,15}\r?")
_LONGEST: Final = 17  # bytes of a size with its line end


class ChunkedBody:
    """One body. `finished` once its last chunk and the empty line behind it have come."""

    __slots__ = ("_held", "_left", "finished")

    def __init__(self) -> None:
        self.finished = False
        self._left = 0  # bytes of the chunk that is arriving, with the line end behind it
        self._held = b""  # of a size that is not whole yet

    def feed(self, data: memoryview) -> list[memoryview]:
        """The pieces of content that `data` holds.

        Raises:
            MalformedInput: it is no chunked coding, or goes on after its end.
        """
        pieces: list[memoryview] = []
        while len(data):
            if self.finished:
                raise MalformedInput("something comes after the end of a chunked body")
            if self._left > 2:
                piece = data[: self._left - 2]
                pieces.append(piece)
                self._left -= len(piece)
                data = data[len(piece) :]
            elif self._left:
                data = self._line_end(data)
            else:
                data = self._size(data)
        return pieces

    def _line_end(self, data: memoryview) -> memoryview:
        if data[0] != b"\n\r"[self._left - 1]:
            raise MalformedInput("a chunk does not end where its size says")
        self._left -= 1
        if self._left == 0 and self._held == b"0":
            self.finished = True
        return data[1:]

    def _size(self, data: memoryview) -> memoryview:
        line = self._held + bytes(data[: _LONGEST - len(self._held)])
        found = _SIZE.match(line)
        if found is None:
            if not _UNFINISHED.fullmatch(line):
                raise MalformedInput("a chunk does not begin with its size")
            self._held = line
            return data[len(data) :]
        rest = data[found.end() - len(self._held) :]
        size = int(found[1], 16)
        self._left = size + 2
        self._held = b"" if size else b"0"  # the last chunk: only its line end is still to come
        return rest
