"""Files that say where they lie, read without saying it, so that checkouts with equal contents measure equal.

Three kinds: lines of `.pth` files that are absolute paths (what lies there is on the module path, and measured
itself), an installation's `RECORD`, and pip's `direct_url.json`. The last two are data about the installation.
"""

from __future__ import annotations

import csv
from pathlib import Path

_PLACE = "<a place on the module path>"
_PLACED = (".pyc", ".pth", ".dist-info/RECORD", ".dist-info/direct_url.json")


def says_where_it_lies(path: Path) -> bool:
    """Whether `path` is of one of the three kinds."""
    return _is_path_file(path) or _is_about(path, "RECORD") or _is_about(path, "direct_url.json")


def without_places(path: Path) -> bytes:
    """What is measured of `path` in place of its content; `says_where_it_lies` holds for it."""
    if _is_about(path, "direct_url.json"):
        return b""
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    if _is_path_file(path):
        kept = [_PLACE if line.startswith("/") else line for line in lines]
    else:
        # Scripts outside, bytecode and the three kinds themselves; every other row has the digest of a measured file.
        kept = sorted(",".join(row) for row in csv.reader(lines) if row and not _is_placed(row[0]))
    return "\n".join(kept).encode("utf-8", "surrogateescape")


def _is_path_file(path: Path) -> bool:
    """Python reads them in the site folder itself; elsewhere the ending is a model's, measured as it is."""
    return path.suffix == ".pth" and path.parent.name in ("site-packages", "dist-packages")


def _is_about(path: Path, name: str) -> bool:
    return path.name == name and path.parent.suffix == ".dist-info"


def _is_placed(name: str) -> bool:
    return name.startswith(("../", "/")) or name.endswith(_PLACED)
