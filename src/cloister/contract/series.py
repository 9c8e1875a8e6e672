"""A sequence that grows at its end and stays what it was for whoever has it: for what a log adds up to.

A tuple is copied whole for each item that is added: a millisecond and more at 100,000 items, for each entry. Here full
runs are shared by all that grew from them, and only the run at the end is copied, up to 256 items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")

RUN = 256  # items


@dataclass(frozen=True, slots=True)
class Series(Generic[T]):
    """Two with the same items are equal: each run but the last has 256."""

    runs: tuple[tuple[T, ...], ...] = ()
    end: tuple[T, ...] = ()  # fewer than that

    @classmethod
    def of(cls, items: Iterable[T]) -> Series[T]:
        """A series of these items."""
        whole = tuple(items)
        full = len(whole) - len(whole) % RUN
        return cls(tuple(whole[at : at + RUN] for at in range(0, full, RUN)), whole[full:])

    def and_one(self, item: T) -> Series[T]:
        """Another, with `item` at its end."""
        end = (*self.end, item)
        return Series((*self.runs, end)) if len(end) == RUN else Series(self.runs, end)

    def __len__(self) -> int:
        return len(self.runs) * RUN + len(self.end)

    def __iter__(self) -> Iterator[T]:
        return chain(chain.from_iterable(self.runs), self.end)

    def __reversed__(self) -> Iterator[T]:
        return chain(reversed(self.end), *map(reversed, reversed(self.runs)))
