"""Reads evidence for commands: a file, or `-` for standard input, never more of either than a cap."""

from __future__ import annotations

import sys
from pathlib import Path

from cloister.errors import TooLarge, UsageError


def read_evidence(path: Path, *, limit: int) -> bytes:
    """The whole of `path`, at most `limit` bytes.

    Raises:
        UsageError: it cannot be read.
        TooLarge: it has more; no more of it was read.
    """
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with path.open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise TooLarge(f"{path} has more than {limit} bytes, which no evidence has")
    return data
