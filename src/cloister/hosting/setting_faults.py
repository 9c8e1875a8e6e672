"""Holds a value against the type of its setting, down to the innermost key, and says all that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import inspect

from cloister.hosting.setting_words import expected, shown


class Fault(NamedTuple):
    """What is wrong with the setting at `path`: the key in the file, and where that is a table, keys in it."""

    path: tuple[str, ...]
    says: str


def faults(value: Any, kind: Any, path: tuple[str, ...], *, from_text: bool = False) -> Iterator[Fault]:
    """Everything that keeps `value` from being of type `kind`; `from_text` where it comes from a variable."""
    info = inspect.type_info(kind)
    if isinstance(info, inspect.StructType | inspect.DataclassType) and isinstance(value, Mapping):
        yield from _in_table(value, info, path)
        return
    items = get_args(kind)
    if isinstance(info, inspect.CollectionType) and isinstance(value, Sequence) and not isinstance(value, str):
        for number, item in enumerate(value, 1):
            yield from faults(item, items[0], (*path, f"{number}."))
        return
    try:
        convert(value, kind, from_text=from_text)
    except (msgspec.ValidationError, ValueError):
        yield Fault(path, f"{_name(path)} must be {expected(kind)}, not {shown(value)}")


def convert(value: Any, kind: Any, *, from_text: bool = False) -> Any:
    """The value as one of `kind`.

    Raises:
        msgspec.ValidationError, ValueError: it is none.
    """
    return msgspec.convert(value, kind, strict=not from_text, dec_hook=_decode_path)


def unknown(path: tuple[str, ...], known: Iterable[str]) -> Fault:
    """The fault of a setting that does not exist."""
    nearest = difflib.get_close_matches(path[-1], list(known), n=1, cutoff=0)
    advice = f"; the nearest that exists is {_name((*path[:-1], *nearest))}" if nearest else ""
    return Fault(path, f"unknown setting {_name(path)}{advice}")


def _in_table(
    table: Mapping[str, Any], info: inspect.StructType | inspect.DataclassType, path: tuple[str, ...]
) -> Iterator[Fault]:
    types = get_type_hints(info.cls, include_extras=True)
    for key, value in table.items():
        inner = (*path, key)
        if key in types:
            yield from faults(value, types[key], inner)
        else:
            yield unknown(inner, types)
    for field in info.fields:
        if field.required and field.name not in table:
            yield Fault(path, f"{_name(path)} lacks {field.name}, {expected(types[field.name])}")


def _name(path: Sequence[str]) -> str:
    return ".".join(name.rstrip(".") for name in path)


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
