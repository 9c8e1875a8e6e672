"""What the sections of the task gave this engine: variables, and files in memory (docs/formats/section.md).

It is there before the engine's program begins, and only there: an engine that is started without a sandbox has nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, NoReturn

UNUSABLE: Final = 118  # exit status, by which the gateway says that the engine cannot use what it was given
VARIABLES: Final = ".variables.json"  # no section has a file of such a name
MAXIMUM_FILE_BYTES: Final = "MAXIMUM_FILE_BYTES"  # of a file that a client sends; a whole number
VOCABULARY: Final = "vocabulary.txt"  # words that the model lacks, see `speech_vocabulary`


def variable(name: str) -> str | None:
    """A variable's value; None where no section defines it."""
    value = json.loads(file(VARIABLES) or b"{}").get(name)
    return None if value is None else str(value)


def file(name: str) -> bytes | None:
    """A file's content; None where no section has it."""
    folder = os.environ.get("SECTIONS")  # noqa: TID251 - what an engine is set up with, as the sandbox hands it over
    path = None if folder is None else Path(folder, name)
    return path.read_bytes() if path is not None and path.is_file() else None


def maximum_file() -> int | None:
    """The most bytes that a client's file may have; None where no section limits it."""
    said = variable(MAXIMUM_FILE_BYTES)
    if said is None:
        return None
    if not (said.isascii() and said.isdecimal() and len(said) <= 18 and int(said)):
        unusable()
    return int(said)


def unusable() -> NoReturn:
    """End, since what was given is not what this engine reads. Which part it is, nobody outside is told."""
    raise SystemExit(UNUSABLE)
