"""Finds the line of a TOML file on which a key is set. `tomllib`, which gives the values, keeps no positions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_TABLE = re.compile(r"\s*\[\[?\s*([\w.\"'\- ]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([\w.\"'\- ]+?)\s*=")


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The number of the line, from 1, that sets the key at `path`, or begins the table of that name.

    Of an array of tables, `"2."` in the path is its second.

    None where no line does so plainly: inside an inline table, or after a string that runs over lines.
    """
    wanted, table, seen = list(path), list[str](), Counter[tuple[str, ...]]()
    for number, line in enumerate(text.splitlines(), 1):
        if head := _TABLE.match(line):
            table = _names(head.group(1))
            if table == wanted:
                return number
            if line.lstrip().startswith("[["):
                seen[tuple(table)] += 1
                table = [*table, f"{seen[tuple(table)]}."]
            if table == wanted:
                return number
        elif (key := _KEY.match(line)) and table + _names(key.group(1)) == wanted:
            return number
    return None


def _names(dotted: str) -> list[str]:
    return [name.strip().strip("\"'") for name in dotted.split(".")]
