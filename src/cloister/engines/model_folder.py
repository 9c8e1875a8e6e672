"""Where an engine finds its model, and by which names clients ask for it. Other files are each engine's own."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

from cloister.errors import MalformedInput

NAMES: Final = "names.txt"  # one name a line, the most usual first
MAXIMUM_NAMES: Final = 16
MAXIMUM_JSON: Final = 1024 * 1024  # bytes of a small file
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")


def folder() -> Path | None:
    """The folder that the sandbox names in MODEL; None where it names none, or an empty one."""
    named = os.environ.get("MODEL")  # noqa: TID251 - what an engine is set up with, as the sandbox hands it over
    return Path(named) if named and any(Path(named).iterdir()) else None


def names(model: Path, *, otherwise: str) -> tuple[str, ...]:
    """The names that the model's owner gave it in `names.txt`; `otherwise` where there is no such file.

    Raises:
        MalformedInput: no name in it, more than 16, one twice, or one of other characters than names have.
    """
    file = model / NAMES
    if not file.exists():
        return (otherwise,)
    found = tuple(file.read_text("ascii", errors="replace").split("\n"))
    found = found[:-1] if found[-1:] == ("",) else found
    if not 1 <= len(found) <= MAXIMUM_NAMES or len(set(found)) != len(found):
        raise MalformedInput(f"{NAMES} holds between 1 and {MAXIMUM_NAMES} names, one a line, none of them twice")
    if any(_NAME.fullmatch(name) is None for name in found):
        raise MalformedInput(f"a name in {NAMES} has characters other than letters, digits and ._:/- or is too long")
    return found


def read_json(path: Path, *, most: int = MAXIMUM_JSON) -> Any:
    """What a JSON file in a model's folder holds.

    Raises:
        MalformedInput: it is missing, larger than `most` bytes, or not JSON.
    """
    if not path.is_file():
        raise MalformedInput(f"{path.name} is missing")
    if path.stat().st_size > most:
        raise MalformedInput(f"{path.name} has more than {most} bytes")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise MalformedInput(f"{path.name} is not JSON") from error
