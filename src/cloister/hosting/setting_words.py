"""Says in words what a setting may be, from its type, and what it is instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import inspect

_PLAIN = (
    (inspect.StrType, "a string"),
    (inspect.BoolType, "true or false"),
    (inspect.NoneType, "nothing"),
    (inspect.DictType, "a table"),
    (inspect.CustomType, "a path"),  # the one type that is ours to decode
)


def expected(kind: Any) -> str:
    """What a value of `kind` is, as one would write it into a TOML file: "a whole number from 1 to 65535"."""
    return _expected(inspect.type_info(kind))


def shown(value: object) -> str:
    """What stands there instead; of a text only that it is one, since it may be a secret in a wrong place."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    kinds: tuple[tuple[type, str], ...] = ((str, "a string"), (Path, "a path"), (Mapping, "a table"))
    kinds += ((Sequence, "a list"),)
    return next((words for kind, words in kinds if isinstance(value, kind)), f"a {type(value).__name__}")


def _expected(info: inspect.Type) -> str:
    if isinstance(info, inspect.UnionType):
        return " or ".join(_expected(one) for one in info.types if not isinstance(one, inspect.NoneType))
    if isinstance(info, inspect.LiteralType):
        return f"one of {', '.join(map(str, info.values))}"
    if isinstance(info, inspect.IntType | inspect.FloatType):
        return ("a whole number" if isinstance(info, inspect.IntType) else "a number") + _range(info)
    if isinstance(info, inspect.StructType | inspect.DataclassType):
        return f"a table of {', '.join(field.name for field in info.fields)}"
    if isinstance(info, inspect.CollectionType | inspect.VarTupleType):
        return f"a list of {_plural(_expected(info.item_type))}"
    return next((words for kind, words in _PLAIN if isinstance(info, kind)), type(info).__name__)


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f" from {info.ge} to {info.le}"
    if info.gt is not None:
        return f" above {info.gt}"
    return "" if info.ge is None else f" of at least {info.ge}"


def _plural(words: str) -> str:
    """The words for one as those for several: a string, strings; a table of x, tables of x."""
    article, _, rest = words.partition(" ")
    noun, space, tail = rest.partition(" ")
    return words if article not in ("a", "an") else f"{noun}s{space}{tail}"
