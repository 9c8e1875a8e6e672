"""All contract lines of a log, and where each is found: by its name, by what is in force, by what is proposed.

Whoever can write to the log can begin lines, and propose on them. What others' lines cost is that they are kept: no
entry is looked for among all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from cloister.contract.governed import Governed, Heeds, Witnessed, heeds
from cloister.contract.shared_map import SharedMap
from cloister.formats.contract import Contract


class Line(Protocol):
    """A contract with its successors."""

    @property
    def governed(self) -> Governed[Contract]:
        """What is in force of it, and what is proposed."""


L = TypeVar("L", bound=Line)


class Lines(Mapping[bytes, L], Generic[L]):
    """By their names: the digests of their first contracts."""

    __slots__ = ("_heeding", "_in_force", "_lines", "_motions")

    def __init__(self) -> None:
        self._lines: SharedMap[bytes, L] = SharedMap()
        self._in_force: SharedMap[bytes, bytes] = SharedMap()  # names, by the digest of what is in force
        self._motions: SharedMap[bytes, bytes] = SharedMap()  # names, by the digest of a proposal's entry
        self._heeding: SharedMap[bytes, Heeds] = SharedMap()  # what would change something, where anything is proposed

    def put(self, name: bytes, line: L) -> Lines[L]:
        """The same with `line` as what `name` is now."""
        put = Lines[L]()
        put._lines = self._lines.put(name, line)
        before, after = self._governed(name), line.governed
        put._in_force, put._motions, put._heeding = self._in_force, self._motions, self._heeding
        if after is before:
            return put
        if before is None or before.digest != after.digest:
            known = self._in_force if before is None else self._in_force.without(before.digest)
            put._in_force = known.put(after.digest, name)
        put._motions = self._moved(name, before, after)
        heeded = heeds(after)
        put._heeding = self._heeding.without(name) if heeded is None else self._heeding.put(name, heeded)
        return put

    def in_force(self, digest: bytes) -> tuple[bytes, L] | None:
        """The line whose contract in force has this digest, with its name."""
        name = self._in_force.get(digest)
        return None if name is None else (name, self._lines[name])

    def with_proposal(self, digest: bytes) -> tuple[bytes, L] | None:
        """The line on which the entry with this digest proposes something, with its name."""
        name = self._motions.get(digest)
        return None if name is None else (name, self._lines[name])

    def heeding(self, witnessed: Witnessed) -> list[bytes]:
        """The names of the lines of which something would come if witnesses said this."""
        return [name for name, heeded in self._heeding.items() if heeded.by(witnessed)]

    def differing(self, before: Lines[L]) -> Iterator[bytes]:
        """The names of lines that are other ones than in `before`, or were not there."""
        return self._lines.differing(before._lines)

    def _governed(self, name: bytes) -> Governed[Contract] | None:
        line = self._lines.get(name)
        return None if line is None else line.governed

    def _moved(
        self, name: bytes, before: Governed[Contract] | None, after: Governed[Contract]
    ) -> SharedMap[bytes, bytes]:
        motions = self._motions
        old = {one.placed.digest for one in before.proposals} if before else set()
        new = {one.placed.digest for one in after.proposals}
        for digest in old - new:
            motions = motions.without(digest)
        for digest in new - old:
            motions = motions.put(digest, name)
        return motions

    def __getitem__(self, name: bytes) -> L:
        return self._lines[name]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)
