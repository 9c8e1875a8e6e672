"""Says in words what a setting may be, from its type, and what it is instead."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import inspect

_PLAIN = (
    (inspect.BoolType, "true or false"),
    (inspect.NoneType, "nothing"),
    (inspect.CustomType, "a path"),  # the one type that is ours to decode
)

MAY_BE: Final = "may be"  # in `extra` of a type's `msgspec.Meta`: the words, where the type alone says too little
_WORD = 32  # characters of a misspelt word that are repeated


def expected(kind: Any) -> str:
    """What a value of `kind` is, as one would write it into a TOML file: "a whole number from 1 to 65535"."""
    return _expected(inspect.type_info(kind))


def instead(value: object, kind: Any) -> str:
    """What stands there instead of one of `kind`; of a text only that it is one: it may be a secret in a wrong place.

    A text where a few words may stand is such a word misspelt, and said.
    """
    info = inspect.type_info(kind)
    if isinstance(value, str) and len(value) <= _WORD and _choices(info):
        return f"not {json.dumps(value, ensure_ascii=False)}"
    if isinstance(value, str) and isinstance(info, inspect.StrType):
        return "which this text is not"
    return f"not {_shown(value)}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    kinds: tuple[tuple[type, str], ...] = ((str, "a string"), (Path, "a path"), (Mapping, "a table"))
    kinds += ((Sequence, "a list"),)
    return next((words for kind, words in kinds if isinstance(value, kind)), f"a {type(value).__name__}")


def _expected(info: inspect.Type) -> str:
    if isinstance(info, inspect.Metadata):
        return str((info.extra or {}).get(MAY_BE, _expected(info.type)))
    if choices := _choices(info):
        return f"one of {', '.join(choices)}"
    if isinstance(info, inspect.UnionType):
        return " or ".join(_expected(one) for one in info.types if not isinstance(one, inspect.NoneType))
    if isinstance(info, inspect.StrType):
        return "a string" + _shape(info)
    if isinstance(info, inspect.IntType | inspect.FloatType):
        return ("a whole number" if isinstance(info, inspect.IntType) else "a number") + _range(info)
    if isinstance(info, inspect.StructType | inspect.DataclassType):
        return f"a table of {', '.join(field.name for field in info.fields)}"
    if isinstance(info, inspect.DictType):
        return f"a table of names, each {_expected(info.value_type)}"
    if isinstance(info, inspect.CollectionType | inspect.VarTupleType):
        return f"a list of {_plural(_expected(info.item_type))}"
    return next((words for kind, words in _PLAIN if isinstance(info, kind)), type(info).__name__)


def _choices(info: inspect.Type) -> list[str]:
    """The words of which one may stand there, each once; none where other things may."""
    if isinstance(info, inspect.LiteralType):
        return [str(value) for value in info.values]
    if not isinstance(info, inspect.UnionType):
        return []
    each = [_choices(one) for one in info.types if not isinstance(one, inspect.NoneType)]
    return [*dict.fromkeys(word for words in each for word in words)] if all(each) else []


def _shape(info: inspect.StrType) -> str:
    longest = "" if info.max_length is None else f" of at most {info.max_length} characters"
    return longest if info.pattern is None else f"{longest} that matches {info.pattern}"


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f" from {info.ge} to {info.le}"
    if info.gt is not None:
        return f" above {info.gt}" + ("" if info.le is None else f", at most {info.le}")
    return "" if info.ge is None else f" of at least {info.ge}"


def _plural(words: str) -> str:
    """The words for one as those for several: a string, strings; a table of x, tables of x."""
    article, _, rest = words.partition(" ")
    noun, space, tail = rest.partition(" ")
    return words if article not in ("a", "an") else f"{noun}s{space}{tail}"
