"""Which files that a service needs, and that its settings name, are not on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from msgspec import inspect

from cloister.hosting.needed_file import NeededFile
from cloister.hosting.setting_faults import kind_given

_NEEDED: Final = NeededFile  # as a value


def absent(name: str, value: Any, kind: Any) -> Iterator[tuple[str, Path]]:
    """The needed files in a setting of type `kind` that are not on this machine, each with its setting's name."""
    kind = kind_given(kind)
    info = inspect.type_info(kind)
    if value is None:
        return
    if kind == _NEEDED:
        if _is_absent(value):
            yield name, value
    elif isinstance(info, inspect.StructType | inspect.DataclassType):
        for key, inner in get_type_hints(info.cls, include_extras=True).items():
            yield from absent(f"{name}.{key}", getattr(value, key), inner)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from absent(f"{name}.{key}", one, get_args(kind)[1])
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for number, one in enumerate(value, 1):
            yield from absent(f"{name}.{number}", one, get_args(kind)[0])


def _is_absent(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # in a folder that is another's: nothing is known of it
    return False
