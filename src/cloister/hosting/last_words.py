"""What a service said last, for whoever started it and saw it end."""

from __future__ import annotations

import os
from pathlib import Path

_LAST_BYTES = 4096


def last_words(log: Path, *, since: int) -> str:
    """The last sentence in the `log` from byte `since` on, without what only a log needs; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.removeprefix("cloister: ").strip() for line in lines if line.startswith("cloister: ")]
    return said[-1] if said else ""
