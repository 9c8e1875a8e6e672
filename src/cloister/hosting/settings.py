"""Reads a service's settings once: flags over environment over a TOML file.

The environment is an argument. Names a service does not know stop the start-up: a misspelt setting that was silently
ignored could leave a check weaker than the operator believes. All faults are told at once, each with its place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

from msgspec import inspect

from cloister.errors import UsageError
from cloister.hosting.setting_faults import convert, faults, kind_given, unknown
from cloister.hosting.setting_words import expected
from cloister.hosting.toml_lines import line_of

Record = TypeVar("Record")


class BadSettings(UsageError):
    """Settings are unknown, missing or not of their type; the sentence names each and where it was read."""

    def __init__(self, wrong: Sequence[str]) -> None:
        several = (f"{len(wrong)} things are wrong in the settings:", *(f"  {one}" for one in wrong))
        super().__init__(wrong[0] if len(wrong) == 1 else "\n".join(several))


class Given(NamedTuple):
    """A setting that was given, and where: a line of a file, a variable, a flag."""

    value: Any
    place: str
    raw: Any  # as it was written: of a table, the keys that were given


Place = Callable[[tuple[str, ...]], str]  # where the setting at a path of keys was read


@dataclass(frozen=True, slots=True)
class Reading:
    """All that was given for one service, and all that is wrong with it, in sentences."""

    types: Mapping[str, Any]
    given: dict[str, Given] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)

    def take(self, name: str, value: Any, place: Place, *, from_text: bool = False) -> None:
        """Take a setting, if it is one and of its type."""
        if name not in self.types:
            found = [unknown((name,), self.types)]
        else:
            self.tried.add(name)
            found = [*faults(value, self.types[name], (name,), from_text=from_text)]
            if not found:
                self.given[name] = Given(convert(value, self.types[name], from_text=from_text), place((name,)), value)
        self.wrong.extend(f"{place(fault.path)}: {fault.says}" for fault in found)


def load(
    record: type[Record],
    *,
    service: str,
    config: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
) -> Record:
    """The settings of `service` as a `record`, a frozen dataclass or `msgspec.Struct` with units in its field names.

    Args:
        record: its fields are the settings; nested tables are such records too. Where some do not fit each other, its
            `__post_init__` raises `UsageError`.
        service: `kms` reads `CLOISTER_KMS__…`; other variables are not ours.
        config: a TOML file whose top-level keys are fields of `record`.
        environ: variables by name; lists and tables are written as in TOML.
        flags: from the command line; `None` means that the flag was not given.

    Raises:
        BadSettings: names are unknown or missing, values are not of their type, or do not fit; or the file cannot be
            read.
    """
    reading = read(record, service=service, config=config, environ=environ, flags=flags)
    if reading.wrong:
        raise BadSettings(reading.wrong)
    return _record_of(record, reading)


def read(
    record: type, *, service: str, config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> Reading:
    """What `load` would take, with the place of each, and everything that keeps it from doing so.

    Raises:
        BadSettings: the file cannot be read, or is not TOML.
    """
    reading = Reading(get_type_hints(record, include_extras=True))
    prefix = prefix_of(service)
    if config is not None:
        _from_file(config, reading)
    _from_environment(environ, prefix, reading)
    for name, value in flags.items():
        if value is not None:
            reading.take(name, value, lambda path: f"--{path[0].replace('_', '-')}")
    _require_complete(record, reading, prefix)
    if not reading.wrong:
        try:
            _record_of(record, reading)
        except UsageError as error:
            reading.wrong.append(str(error) if config is None else f"{config}: {error}")
    return reading


def _record_of(record: type[Record], reading: Reading) -> Record:
    """The settings, where nothing is wrong with any by itself.

    Raises:
        UsageError: they do not fit each other.
    """
    return record(**{name: given.value for name, given in reading.given.items()})


def prefix_of(service: str) -> str:
    """How the variables begin that are settings of `service`."""
    return f"CLOISTER_{service.upper().replace('-', '_')}__"


def _from_file(config: Path, reading: Reading) -> None:
    try:
        text = config.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise BadSettings([f"settings file {config} cannot be read: {error.strerror}"]) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings([f"settings file {config} is not TOML: {error}"]) from error

    def place(path: tuple[str, ...]) -> str:
        outer = (line_of(text, path[:length]) for length in range(len(path), 0, -1))  # inline: the line it begins on
        line = next((one for one in outer if one is not None), None)
        return str(config) if line is None else f"{config}, line {line}"

    for name, value in table.items():
        reading.take(name, value, place)


def _from_environment(environ: Mapping[str, str], prefix: str, reading: Reading) -> None:
    variables = {prefix + name.upper(): name for name in reading.types}
    for variable, text in environ.items():
        if not variable.startswith(prefix):
            continue
        if variable not in variables:
            reading.wrong.append(f"the environment: {unknown((variable,), variables).says}")
            continue
        name = variables[variable]
        try:
            value = _toml_value(text, reading.types[name])
        except ValueError as error:
            reading.tried.add(name)
            reading.wrong.append(f"{variable}: {error}")
        else:
            reading.take(name, value, lambda _, variable=variable: variable, from_text=True)  # type: ignore[misc]


def _toml_value(text: str, kind: Any) -> Any:
    """Text as it stands for plain types, else parsed as the right side of a TOML assignment.

    Raises:
        ValueError: it is no such.
    """
    if not isinstance(inspect.type_info(kind_given(kind)), _COMPOUND):
        return text
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is not a TOML value: {error}") from error
    if set(table) != {"value"}:
        raise ValueError("it is not one TOML value")
    return table["value"]


_COMPOUND = (
    inspect.CollectionType,
    inspect.DictType,
    inspect.StructType,
    inspect.DataclassType,
    inspect.TupleType,
)


def _require_complete(record: type, reading: Reading, prefix: str) -> None:
    info = inspect.type_info(record)
    if not isinstance(info, inspect.StructType | inspect.DataclassType):
        raise TypeError(f"{record.__name__} is neither a dataclass nor a msgspec.Struct")
    missing = [one.name for one in info.fields if one.required and one.name not in reading.tried]
    if missing:
        named = ", ".join(f"{name} ({expected(reading.types[name])})" for name in missing)
        variable = prefix + missing[0].upper()
        reading.wrong.append(f"missing settings: {named}; give each in the file, as a flag, or as {variable}")
