"""A mapping that stays as it is, and of which a changed copy shares nearly everything with it.

The fold makes a new state with every entry. Copying a dict whole each time costs its length, so whoever can write to
the log would make every replay quadratic. Here a change copies about the square root of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Generic, TypeVar, cast

K = TypeVar("K")
V = TypeVar("V")

_FEW: Final = 64  # changes that are kept apart from a small mapping
_GONE: Final = object()


class SharedMap(Mapping[K, V], Generic[K, V]):
    """Iterates in the order in which keys came, as a dict does."""

    __slots__ = ("_length", "_recent", "_settled")

    def __init__(self) -> None:
        self._settled: dict[K, V] = {}
        self._recent: dict[K, V | object] = {}  # what was changed since, `_GONE` for what went
        self._length = 0

    def put(self, key: K, value: V) -> SharedMap[K, V]:
        """The same with `key`."""
        return self._changed(key, value, self._length + (key not in self))

    def without(self, key: K) -> SharedMap[K, V]:
        """The same without `key`, which may not be there."""
        return self._changed(key, _GONE, self._length - 1) if key in self else self

    def differing(self, before: SharedMap[K, V]) -> Iterator[K]:
        """The keys that are here, and not with the same object in `before`: cheap where that is of just before."""
        keys = self._recent if self._settled is before._settled else self
        missing = object()
        return (key for key in keys if key in self and self[key] is not before.get(key, missing))

    def _changed(self, key: K, value: V | object, length: int) -> SharedMap[K, V]:
        changed = SharedMap[K, V]()
        changed._settled, changed._recent, changed._length = self._settled, {**self._recent, key: value}, length
        if len(changed._recent) > max(_FEW, int(len(self._settled) ** 0.5)):
            changed._settled, changed._recent = dict(changed.items()), {}
        return changed

    def __getitem__(self, key: K) -> V:
        found = self._recent.get(key, self._settled.get(key, _GONE))
        if found is _GONE:
            raise KeyError(key)
        return cast("V", found)

    def __iter__(self) -> Iterator[K]:
        yield from (key for key in self._settled if self._recent.get(key) is not _GONE)
        yield from (key for key, value in self._recent.items() if key not in self._settled and value is not _GONE)

    def __len__(self) -> int:
        return self._length
