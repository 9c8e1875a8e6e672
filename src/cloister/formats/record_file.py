"""Records as a person writes them: TOML, bytes in hexadecimal digits, moments as dates of TOML's own in UTC.

The record's own types say what each key is, so that nothing is guessed from how a value looks: where the type is bytes,
text has to be lower-case hex digits, and is text everywhere else. Every key has to stand there, those that the record
has a default for too; a key that is not known is refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import msgspec.inspect as schema

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.runtime_log import lower_hex
from cloister.formats.toml_text import line_of, toml_text

_DEPTH: Final = 8  # tables within tables
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,3}")
_WHERE: Final = re.compile(r"^(.*) - at (?:`key` in )?`\$\.?(.*)`$", re.DOTALL)
_MOMENTS: Final = frozenset({"not_before", "not_after", "expires"})  # seconds since 1970 in records, dates in files
_LAST_MOMENT: Final = 253_402_300_799  # the end of the year 9999

Path = tuple[str | int, ...]
Record = TypeVar("Record", bound=msgspec.Struct)


class _Wrong(Exception):
    """A value that is not of its type, and where it stands."""

    def __init__(self, path: Path, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


def parse_record_file(data: bytes, record: type[Record], what: str, *, limit: int) -> Record:
    """Parse a file of at most `limit` bytes of TOML as `record`, which is `what` in messages.

    Raises:
        TooLarge: over the cap; nothing was parsed.
        MalformedInput: it is none; the sentence names the key, and the line where it or its table begins.
    """
    if len(data) > limit:
        raise TooLarge(f"{what} of {len(data)} bytes, the cap is {limit}")
    try:
        text = data.decode()
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise MalformedInput(f"not {what}: {error}") from error
    try:
        value = _read(table, _type(record), ())
        return msgspec.convert(value, record, strict=True, builtin_types=(bytes,))
    except _Wrong as error:
        raise MalformedInput(f"not {what}: {_sentence(text, error.path, str(error))}") from error
    except msgspec.ValidationError as error:
        found = _WHERE.match(str(error))
        where, sentence = ("", str(error)) if found is None else (found[2], found[1])
        raise MalformedInput(f"not {what}: {_sentence(text, _path(where), sentence)}") from error


def format_record_file(record: msgspec.Struct, *, comment: Callable[[Sequence[str]], str]) -> str:
    """The TOML of `record`; `comment` gives the words above a key by its path, tables' numbers left out, or none."""
    plain = msgspec.to_builtins(record, builtin_types=(bytes,), str_keys=True)
    return toml_text(_spelled(plain), comment=comment)


def no_comment(_path: Sequence[str]) -> str:
    """For a file without any."""
    return ""


@cache
def _type(record: type[msgspec.Struct]) -> schema.Type:
    return schema.type_info(record)


def _spelled(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _moment(inner) if key in _MOMENTS else _spelled(inner) for key, inner in value.items()}
    return [_spelled(inner) for inner in value] if isinstance(value, list | tuple) else value


def _moment(seconds: Any) -> Any:
    if not isinstance(seconds, int) or seconds > _LAST_MOMENT:
        return seconds
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def _read(value: Any, kind: schema.Type, path: Path) -> Any:
    """`value` with bytes where `kind` says so; what else is wrong with it, the conversion will find."""
    if len(path) > _DEPTH:
        _refuse(path, f"nested deeper than {_DEPTH}")
    if isinstance(kind, schema.Metadata):
        return _read(value, kind.type, path)
    if isinstance(kind, schema.UnionType):
        return _read(value, _chosen(value, kind, path), path)
    if isinstance(kind, schema.BytesType | schema.IntType):
        return _scalar(value, kind, path)
    if isinstance(kind, schema.LiteralType) and not (isinstance(value, str | int) and value in kind.values):
        _refuse(path, f"{str(value)[:40]!r} is none of: {', '.join(map(str, kind.values))}")
    if isinstance(kind, schema.StructType) and isinstance(value, dict):
        return _struct(value, kind, path)
    if isinstance(kind, schema.DictType) and isinstance(value, dict):
        return {_key(key, kind.key_type, path): _read(one, kind.value_type, (*path, key)) for key, one in value.items()}
    if isinstance(kind, schema.VarTupleType) and isinstance(value, list):
        return [_read(one, kind.item_type, (*path, at)) for at, one in enumerate(value)]
    if isinstance(kind, schema.TupleType) and isinstance(value, list) and len(value) == len(kind.item_types):
        return [
            _read(one, inner, (*path, at)) for at, (one, inner) in enumerate(zip(value, kind.item_types, strict=True))
        ]
    return value


def _chosen(value: Any, kind: schema.UnionType, path: Path) -> schema.Type:
    """Which of a union's types a value is of: a table by its tag, others by what TOML says they are."""
    if isinstance(value, list):
        return next((one for one in kind.types if isinstance(one, schema.VarTupleType)), kind.types[0])
    tables = [one for one in kind.types if isinstance(one, schema.StructType)]
    if isinstance(value, int | datetime) and not isinstance(value, bool):
        return next((one for one in kind.types if isinstance(one, schema.IntType)), kind.types[0])
    if not isinstance(value, dict):
        words = [word for one in kind.types if isinstance(one, schema.LiteralType) for word in one.values]
        return schema.LiteralType(tuple(words)) if words else schema.AnyType()
    if len(tables) == 1:
        return tables[0]
    tags = {one.tag: one for one in tables if one.tag_field is not None and value.get(one.tag_field) == one.tag}
    if not tags:
        names = ", ".join(str(one.tag) for one in tables)
        field = tables[0].tag_field if tables else ""
        _refuse(path, f"`{field}` says which of them this is: {names}" if tables else "no table belongs here")
    return next(iter(tags.values()))


def _struct(value: dict[str, Any], kind: schema.StructType, path: Path) -> dict[str, Any]:
    known = {field.encode_name: field.type for field in kind.fields}
    tag = {} if kind.tag_field is None else {kind.tag_field: value.get(kind.tag_field)}
    for name in value:
        if name not in known and name not in tag:
            _refuse((*path, name), f"a key that is not known; here stand {', '.join((*tag, *known))}")
    if missing := [name for name in known if name not in value]:
        _refuse(path, f"missing: {', '.join(missing)}; no key has a default")
    return tag | {name: _read(value[name], inner, (*path, name)) for name, inner in known.items()}


def _bytes(value: Any, path: Path) -> bytes:
    if not isinstance(value, str):
        _refuse(path, f"bytes are text of hexadecimal digits, not {type(value).__name__}")
    try:
        return lower_hex(value)
    except MalformedInput as error:
        _refuse(path, str(error))


def _scalar(value: Any, kind: schema.BytesType | schema.IntType, path: Path) -> Any:
    if isinstance(kind, schema.BytesType):
        return _bytes(value, path)
    return _seconds(value, path) if isinstance(value, datetime) else value


def _seconds(value: datetime, path: Path) -> int:
    if value.utcoffset() != timedelta(0) or value.microsecond:
        _refuse(path, "a moment is whole seconds in UTC, as in 2027-01-15T08:00:00Z")
    return int(value.timestamp())


def _key(key: str, kind: schema.Type, path: Path) -> str | int:
    """A table's key: TOML has text alone, and numbers are written in one way."""
    if not isinstance(kind, schema.IntType):
        return key
    if not _NUMBER.fullmatch(key):
        _refuse((*path, key), "the key is to be a number")
    return int(key)


def _refuse(path: Path, sentence: str) -> NoReturn:
    raise _Wrong(path, sentence)


def _path(where: str) -> Path:
    """`platforms[0].report.vmpls[1]`, as msgspec names it."""
    return tuple(int(one) if one.isdecimal() else one for one in re.findall(r"[^.\[\]]+", where))


def _sentence(text: str, path: Path, sentence: str) -> str:
    named = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path).removeprefix(".")
    return f"line {line_of(text, path)}: {named or 'the file'}: {sentence}"
