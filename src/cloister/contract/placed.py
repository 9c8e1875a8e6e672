"""Entries at their place in the log, and the one way in which an entry has no effect."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.errors import Refused


class EntryVoid(Refused):
    """An entry has no effect; `check` names the rule."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an entry stands: its index, its bytes, and their SHA-256."""

    index: int
    entry: bytes
    digest: bytes


def require(check: str, passed: bool, shortfall: str) -> None:
    """One rule of the fold.

    Raises:
        EntryVoid: it is broken.
    """
    if not passed:
        raise EntryVoid(check, shortfall)
