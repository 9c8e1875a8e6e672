"""A piece of evidence spelled out: parts, each with who signs it, and fields, each with a sentence that explains it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Value = str | int | bool | None  # bytes as lower-case hexadecimal digits
Raw = bytes | Value


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field: `name` is stable, `says` is for people and may be reworded."""

    name: str
    value: Value
    says: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that one key signs, or nobody."""

    name: str
    title: str
    signed_by: str | None  # by the evidence's own words, which nothing here checked; nobody: anyone can have written it
    fields: tuple[Field, ...]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A whole piece of evidence."""

    format: str
    title: str
    parts: tuple[Part, ...]


def spelled(value: Raw) -> Value:
    """A value as pages have it."""
    return value.hex() if isinstance(value, bytes) else value


def fields(values: Mapping[str, Raw], says: Mapping[str, str], *, prefix: str = "") -> tuple[Field, ...]:
    """A field for each of the `values`, in their order, explained by what `says` has under its name."""
    return tuple(Field(name=f"{prefix}{name}", value=spelled(value), says=says[name]) for name, value in values.items())


def version(numbers: tuple[int, ...]) -> str:
    """`1.55.21`."""
    return ".".join(map(str, numbers))
