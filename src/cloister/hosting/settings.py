"""Reads a service's settings once: flags over environment over a TOML file.

The environment is an argument. Names a service does not know stop the start-up: a misspelt setting that was silently
ignored could leave a check weaker than the operator believes.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from cloister.errors import UsageError

Record = TypeVar("Record")


class BadSettings(UsageError):
    """A setting is unknown, missing or not of its type; the sentence names it and where it was read."""


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
        record: its fields are the settings; nested tables should be structs with `forbid_unknown_fields`.
        service: `kms` reads `CLOISTER_KMS__…`; other variables are not ours.
        config: a TOML file whose top-level keys are fields of `record`.
        environ: variables by name; lists and tables are written as in TOML.
        flags: from the command line; `None` means that the flag was not given.

    Raises:
        BadSettings: a name is unknown or missing, a value is not of its type, or the file cannot be read.
    """
    types = get_type_hints(record)
    prefix = f"CLOISTER_{service.upper().replace('-', '_')}__"
    given = _from_file(config, types)
    given |= _from_environment(environ, prefix, types)
    for name, value in flags.items():
        if value is not None:
            _require_known(name, types, f"the flags of {service}")
            given[name] = _typed(value, types[name], f"flag {name}")
    _require_complete(record, given, prefix)
    return record(**given)


def _from_file(config: Path | None, types: Mapping[str, Any]) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"settings file {config} cannot be read: {error}") from error
    for name in table:
        _require_known(name, types, str(config))
    return {name: _typed(value, types[name], f"{name} in {config}") for name, value in table.items()}


def _from_environment(environ: Mapping[str, str], prefix: str, types: Mapping[str, Any]) -> dict[str, Any]:
    given = {}
    variables = {prefix + name.upper(): name for name in types}
    for variable, text in environ.items():
        if not variable.startswith(prefix):
            continue
        _require_known(variable, variables, "the environment")
        name = variables[variable]
        given[name] = _typed(_toml_value(text, types[name], variable), types[name], variable, from_text=True)
    return given


def _toml_value(text: str, kind: Any, variable: str) -> Any:
    """Text as it stands for plain types, else parsed as the right side of a TOML assignment."""
    if not isinstance(msgspec.inspect.type_info(kind), _COMPOUND):
        return text
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{variable} is not a TOML value: {error}") from error
    if set(table) != {"value"}:
        raise BadSettings(f"{variable} is not one TOML value")
    return table["value"]


_COMPOUND = (
    msgspec.inspect.CollectionType,
    msgspec.inspect.DictType,
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TupleType,
)


def _typed(value: Any, kind: Any, where: str, *, from_text: bool = False) -> Any:
    try:
        return msgspec.convert(value, kind, strict=not from_text, dec_hook=_decode_path)
    except (msgspec.ValidationError, ValueError) as error:
        raise BadSettings(f"setting {where}: {error}") from error


def _decode_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")


def _require_known(name: str, known: Iterable[str], where: str) -> None:
    if name in known:
        return
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0)
    raise BadSettings(
        f"unknown setting {name} in {where}" + (f"; the nearest that exists is {nearest[0]}" if nearest else "")
    )


def _require_complete(record: type, given: Mapping[str, Any], prefix: str) -> None:
    info = msgspec.inspect.type_info(record)
    if not isinstance(info, msgspec.inspect.StructType | msgspec.inspect.DataclassType):
        raise TypeError(f"{record.__name__} is neither a dataclass nor a msgspec.Struct")
    missing = [field.name for field in info.fields if field.required and field.name not in given]
    if missing:
        variable = prefix + missing[0].upper()
        raise BadSettings(f"missing settings: {', '.join(missing)}; give each in the file, as a flag, or as {variable}")
