"""Holds a value against the type of its setting, down to the innermost key, and says all that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from cloister.errors import UsageError
from cloister.hosting.setting_words import expected, instead


class Fault(NamedTuple):
    """What is wrong with the setting at `path`: the key in the file, and where that is a table, keys in it."""

    path: tuple[str, ...]
    says: str


def faults(value: Any, kind: Any, path: tuple[str, ...], *, from_text: bool = False) -> Iterator[Fault]:
    """Everything that keeps `value` from being of type `kind`; `from_text` where it comes from a variable."""
    kind = kind_given(kind)
    inner = _inner(value, kind, path)
    if inner is not None:
        found = [*inner]
        yield from found or _as_a_whole(value, kind, path)
        return
    try:
        convert(value, kind, from_text=from_text)
    except (msgspec.ValidationError, ValueError):
        yield Fault(path, f"{_name(path)} must be {expected(kind)}, {instead(value, kind)}")


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


def kind_given(kind: Any) -> Any:
    """What a setting is where it is given: of `table | None` the table, whose keys have types of their own."""
    if get_origin(kind) in (Union, UnionType):
        several = [one for one in get_args(kind) if one is not NoneType]
        return several[0] if len(several) == 1 else kind
    return kind


def _inner(value: Any, kind: Any, path: tuple[str, ...]) -> Iterator[Fault] | None:
    """The faults of what is in `value`, where there are to be such things in it and it is a table or list of them."""
    info = inspect.type_info(kind)
    items = get_args(get_args(kind)[0] if get_origin(kind) is Annotated else kind)
    if isinstance(value, Mapping):
        if isinstance(info, inspect.StructType | inspect.DataclassType):
            return _in_table(value, info, path)
        return _in_names(value, items, path) if isinstance(info, inspect.DictType) else None
    if isinstance(info, inspect.CollectionType) and isinstance(value, Sequence) and not isinstance(value, str):
        return (fault for at, item in enumerate(value, 1) for fault in faults(item, items[0], (*path, f"{at}.")))
    return None


def _as_a_whole(value: Any, kind: Any, path: tuple[str, ...]) -> Iterator[Fault]:
    """What is wrong only with all of a table or list together: its number of items, or keys that do not fit."""
    try:
        convert(value, kind)
    except (msgspec.ValidationError, ValueError, UsageError) as error:
        yield Fault(path, f"{_name(path)}: {error}")


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


def _in_names(table: Mapping[str, Any], kinds: Sequence[Any], path: tuple[str, ...]) -> Iterator[Fault]:
    """Of a table whose keys are names that its writer chose."""
    for key, value in table.items():
        try:
            convert(key, kinds[0])
        except msgspec.ValidationError:
            yield Fault((*path, key), f"{_name((*path, key))} has a name that must be {expected(kinds[0])}")
        yield from faults(value, kinds[1], (*path, key))


def _name(path: Sequence[str]) -> str:
    return ".".join(name.rstrip(".") for name in path)


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
