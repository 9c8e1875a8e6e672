"""The files of signed entries that a node starts from."""

from __future__ import annotations

from pathlib import Path

from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.ledger_messages import parse_entries

MAXIMUM_FILE = 4 * 1024 * 1024  # bytes


def read_entries(path: Path) -> tuple[bytes, ...]:
    """The signed entries in the file at `path`, first to current: a deterministic CBOR list, at most 4 MiB.

    Raises:
        UsageError: it cannot be read, is malformed, or holds no entry.
    """
    try:
        with path.open("rb") as file:
            entries = parse_entries(file.read(MAXIMUM_FILE + 1))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{path} is no list of signed entries: {error}") from error
    if not entries:
        raise UsageError(f"{path} holds no entry")
    return entries
