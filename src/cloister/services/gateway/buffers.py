"""Memory that holds what clients sent, in the clear after it is opened: taken, wiped, and used again.

Bodies of more than `SMALL` bytes lie in anonymous mappings: pages are there from when something arrives in them, so an
announced length costs nothing, and a mapping that is kept spares the page faults, which cost more than opening does.

A place that a transport was told to read into or to write from is lent until that is done. Aborting a connection ends
nothing at once: uvloop goes on until it calls `connection_lost`. What is given back while it is lent is wiped, but used
for nobody else; it is gone with the last view of it, which is the transport's.
"""

from __future__ import annotations

import mmap
from typing import Final

from cloister.errors import TooLarge

SMALL: Final = 64 * 1024
_SEGMENT: Final = 256 * 1024
_ZEROS: Final = memoryview(bytes(SMALL))


def wipe(view: memoryview) -> None:
    """Set every byte to zero."""
    size = len(view)
    if size <= SMALL:
        view[:] = _ZEROS[:size]
        return
    for at in range(0, size, SMALL):
        part = view[at : at + SMALL]
        part[:] = _ZEROS[: len(part)]


class Buffers:
    """Kept mappings, by powers of two."""

    def __init__(self, *, kept_bytes: int = 64 * 1024 * 1024) -> None:
        self._room = kept_bytes
        self._kept: dict[int, list[mmap.mmap]] = {}

    def take(self, size: int) -> Buffer:
        """Room for `size` bytes, all zero."""
        whole = max(size, 1)
        capacity = 1 << (whole - 1).bit_length()
        kept = self._kept.get(capacity)
        if kept:
            self._room += capacity
            return Buffer(self, kept.pop(), size)
        mapping = mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        mapping.madvise(mmap.MADV_DONTDUMP)
        return Buffer(self, mapping, size)

    def keep(self, mapping: mmap.mmap) -> None:
        """Take a wiped mapping back, or let it go where enough are kept."""
        capacity = len(mapping)
        if capacity <= self._room:
            self._room -= capacity
            self._kept.setdefault(capacity, []).append(mapping)
        # else its pages go back to the kernel, which clears them


class Buffer:
    """A body's place. `filled` is how much of it was written to, `lent` whether a transport may go on with it."""

    __slots__ = ("_buffers", "_mapping", "filled", "lent", "view")

    def __init__(self, buffers: Buffers, mapping: mmap.mmap, size: int) -> None:
        self._buffers = buffers
        self._mapping: mmap.mmap | None = mapping
        self.view = memoryview(mapping)[:size]
        self.filled = 0
        self.lent = False

    def give_back(self) -> None:
        """Wipe it and, unless it is lent, let it be used again. Once; nobody else may hold a view for later."""
        if self._mapping is None:
            return
        wipe(self.view[: self.filled])
        mapping, self._mapping = self._mapping, None
        if not self.lent:
            self._buffers.keep(mapping)


class Segments:
    """A body of unknown length as it comes. It is never moved, so that it needs no room twice. `lent` is as above."""

    __slots__ = ("_buffers", "_taken", "length", "lent")

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._taken: list[Buffer] = []
        self.length = 0
        self.lent = False

    @property
    def views(self) -> list[memoryview]:
        """All of it, in its order."""
        return [buffer.view[: buffer.filled] for buffer in self._taken]

    def add(self, data: memoryview) -> None:
        """More of it."""
        self.length += len(data)
        while len(data):
            if not self._taken or self._taken[-1].filled == _SEGMENT:
                self._taken.append(self._buffers.take(_SEGMENT))
            last = self._taken[-1]
            part = data[: _SEGMENT - last.filled]
            last.view[last.filled : last.filled + len(part)] = part
            last.filled += len(part)
            data = data[len(part) :]

    def give_back(self) -> None:
        """As `Buffer.give_back`."""
        taken, self._taken = self._taken, []
        for buffer in taken:
            buffer.lent = self.lent
            buffer.give_back()


class Collected:
    """A body as it comes, of known length or not, at most `limit` bytes. One that comes whole is not copied."""

    __slots__ = ("_buffer", "_buffers", "_length", "_limit", "_view")

    def __init__(self, buffers: Buffers, length: int | None, *, limit: int) -> None:
        self._buffers = buffers
        self._length = length
        self._limit = limit
        self._view: memoryview | None = None
        self._buffer: Buffer | None = None

    @property
    def view(self) -> memoryview:
        """What came so far; of a body that came whole, where it came."""
        if self._buffer is not None:
            return self._buffer.view[: self._buffer.filled]
        return _ZEROS[:0] if self._view is None else self._view

    def add(self, data: memoryview) -> None:
        """More of it.

        Raises:
            TooLarge: over the limit.
        """
        if self._buffer is None and len(data) == self._length:
            self._view = data
            return
        size = len(self.view) + len(data)
        if size > self._limit:
            raise TooLarge(f"a body over the cap of {self._limit} bytes")
        buffer = self._buffer
        if buffer is None or size > len(buffer.view):
            buffer = self._buffers.take(self._length or max(2 * size, SMALL))
            self._move_to(buffer)
        buffer.view[buffer.filled : size] = data
        buffer.filled = size

    def _move_to(self, buffer: Buffer) -> None:
        before, self._buffer = self._buffer, buffer
        if before is not None:
            buffer.view[: before.filled] = before.view[: before.filled]
            buffer.filled = before.filled
            before.give_back()

    def give_back(self) -> None:
        """Wipe what was copied."""
        self._view = None
        if self._buffer is not None:
            self._buffer.give_back()
            self._buffer = None
