"""What each check says in words, from the checked-in catalogue `checks.toml`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple


class Words(NamedTuple):
    """What holds where a check passed, and the attack that it stands against."""

    says: str
    guards: str


@functools.cache
def catalogue() -> Mapping[str, Words]:
    """Every check by its id."""
    tables = tomllib.loads(files("cloister").joinpath("checks.toml").read_text(encoding="utf-8"))
    return {
        f"{room}.{name}": Words(row["says"], row["guards"])
        for room, rows in tables.items()
        for name, row in rows.items()
    }


def words_of(check: str) -> Words | None:
    """The words of a check, if the catalogue has it."""
    return catalogue().get(check)
