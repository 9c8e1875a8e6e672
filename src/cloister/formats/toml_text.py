"""TOML for people: written with tables of their own and comments, and read again for the line at which a key stands.

The standard library reads TOML, says no lines, and does not write it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

Comment = Callable[[Sequence[str]], str]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_HEADER: Final = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_ASSIGNED: Final = re.compile(r"\s*([^=#\[\]]+?)\s*=")
_PART: Final = re.compile(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)")


def toml_text(table: Mapping[str, Any], *, comment: Comment) -> str:
    """A table of text, integers, booleans, moments in UTC, lists and tables; `comment`: the words above a key."""
    return "\n".join(_table(table, (), comment)).strip("\n") + "\n"


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The line, from 1, at which `path` or the nearest that it is in begins; a value's lines are its key's.

    For messages: it does not understand text in several lines, and is right for everything that `toml_text` writes.
    """
    best, line = -1, 1
    table: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    for number, written in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(written):
            table = _entered(_parts(header[2]), counts, array=header[1] == "[[")
            found = table
        elif assigned := _ASSIGNED.match(written):
            found = (*table, *_parts(assigned[1]))
        else:
            continue
        if len(found) > best and tuple(path[: len(found)]) == found:
            best, line = len(found), number
    return line


def _entered(parts: tuple[str, ...], counts: dict[tuple[str | int, ...], int], *, array: bool) -> tuple[str | int, ...]:
    """The path of a table by its header: below an array of tables it is the last one's."""
    found: tuple[str | int, ...] = ()
    for at, part in enumerate(parts):
        found = (*found, part)
        if array and at == len(parts) - 1:
            counts[found] = counts.get(found, -1) + 1
        if found in counts:
            found = (*found, counts[found])
    return found


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(first or second or third for first, second, third in _PART.findall(dotted))


def _table(table: Mapping[str, Any], path: tuple[str, ...], comment: Comment) -> list[str]:
    lines: list[str] = []
    for name, value in table.items():
        if not _is_table(value) and not _is_tables(value):
            lines += [*_words(comment((*path, name)), before=bool(lines)), f"{_name(name)} = {_value(value)}"]
    for name, value in table.items():
        inside = (*path, name)
        dotted = ".".join(map(_name, inside))
        if _is_table(value):
            lines += ["", *_words(comment(inside), before=False), f"[{dotted}]", *_table(value, inside, comment)]
        elif _is_tables(value):
            for at, one in enumerate(value):
                words = "" if at else comment(inside)
                lines += ["", *_words(words, before=False), f"[[{dotted}]]", *_table(one, inside, comment)]
    return lines


def _words(words: str, *, before: bool) -> list[str]:
    """A comment's lines, set apart from the key before it."""
    lines = [f"# {line}".rstrip() for line in words.splitlines()]
    return ["", *lines] if lines and before else lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _value(value: Any) -> str:
    if isinstance(value, list):
        inner = [_value(one) for one in value]
        if sum(map(len, inner)) < 90:
            return f"[{', '.join(inner)}]"
        return "[\n" + "".join(f"    {one},\n" for one in inner) + "]"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return _quoted(value)


def _quoted(value: str | int | bool) -> str:
    """As JSON spells it, but for the one control character that JSON leaves as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
