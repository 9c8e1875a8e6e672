"""The settings in force as rows: name, value, where it was set, what else it may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from cloister.cli.local.toml import toml_value
from cloister.hosting.setting_words import expected
from cloister.hosting.settings import Given, Reading

DEFAULT = "default"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting; those of a table have its name before a dot."""

    name: str
    value: str  # as TOML writes it; empty where there is none
    place: str
    may_be: str


def effective(record: type, reading: Reading) -> Iterator[Setting]:
    """Every setting of `record` with what was given for it, or else its default."""
    for name, kind in reading.types.items():
        given = reading.given.get(name) or Given(_default(record, name), DEFAULT, {})
        yield from _rows(name, given, kind)


def _rows(name: str, given: Given, kind: Any) -> Iterator[Setting]:
    info = inspect.type_info(kind)
    if isinstance(info, inspect.StructType):
        for inner, inner_kind in get_type_hints(info.cls, include_extras=True).items():
            place = given.place if inner in given.raw else DEFAULT
            yield from _rows(f"{name}.{inner}", Given(getattr(given.value, inner), place, {}), inner_kind)
        return
    plain = msgspec.to_builtins(given.value, enc_hook=str)
    value = "" if plain is None else toml_value(plain)
    yield Setting(name=name, value=value, place=given.place, may_be=expected(kind))


def _default(record: type, name: str) -> Any:
    fields: Mapping[str, Any] = record.__dataclass_fields__  # type: ignore[attr-defined]  # settings are dataclasses
    field = fields[name]
    return field.default if field.default is not MISSING else field.default_factory()
