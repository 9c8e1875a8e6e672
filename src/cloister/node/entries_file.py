"""The files of signed entries that a node starts from."""

from __future__ import annotations

from pathlib import Path

from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.ledger_messages import parse_entries
from cloister.formats.statement import parse_statement

_MAP = b"\xa0"  # how an entry begins, in CBOR; a list begins with less
MAXIMUM_FILE = 4 * 1024 * 1024  # bytes


def read_entries(path: Path) -> tuple[bytes, ...]:
    """The signed entries in the file at `path`, first to current: a deterministic CBOR list, at most 4 MiB.

    A file that holds one entry and no list is taken as that: what `cloister contract sign` leaves.

    Raises:
        UsageError: it cannot be read, is malformed, or holds no entry.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_FILE + 1)
        entries = _one(data) if data[:1] >= _MAP else parse_entries(data)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"{path} is no list of signed entries: {error}") from error
    if not entries:
        raise UsageError(f"{path} holds no entry")
    return entries


def _one(data: bytes) -> tuple[bytes, ...]:
    parse_statement(data)
    return (data,)
