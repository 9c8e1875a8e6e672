"""Reads fixed-size fields off the front of bytes, for binary formats of vendors; nothing is copied before it fits."""

from __future__ import annotations

from typing import Literal

from cloister.errors import MalformedInput


class ByteReader:
    """A position in `data`. Each read moves it on, or raises `MalformedInput` that names the field that is cut off."""

    __slots__ = ("_data", "_order", "at")

    def __init__(self, data: bytes, order: Literal["little", "big"]) -> None:
        self._data = data
        self._order = order
        self.at = 0

    @property
    def left(self) -> int:
        """How many bytes were not read yet."""
        return len(self._data) - self.at

    def take(self, size: int, field: str) -> bytes:
        """The next `size` bytes."""
        if size > self.left:
            raise MalformedInput(f"{field} has {size} bytes, {self.left} are left")
        self.at += size
        return self._data[self.at - size : self.at]

    def integer(self, size: int, field: str) -> int:
        """The next unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size, field), self._order)

    def constant(self, value: bytes, field: str) -> None:
        """Bytes that can only be these."""
        found = self.take(len(value), field)
        if found != value:
            raise MalformedInput(f"{field} is {found.hex()}, not {value.hex()}")

    def peek(self, size: int) -> bytes:
        """The next bytes, at most `size`, without reading them."""
        return self._data[self.at : self.at + size]

    def rest(self) -> bytes:
        """Everything that was not read yet, without reading it."""
        return self._data[self.at :]

    def end(self, what: str) -> None:
        """Hold that nothing follows."""
        if self.left:
            raise MalformedInput(f"{self.left} bytes follow {what}")
