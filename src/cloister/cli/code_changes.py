"""What of Cloister's own code is no longer as it was when the local system was started."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

import cloister
from cloister.cli.state_folder import StateFolder

PACKAGE = "cloister/__init__.py"


def started_with(state: StateFolder) -> dict[str, str]:
    """The manifest of what was measured at the last start, by file; empty where there is none."""
    try:
        return msgspec.json.decode(state.manifest.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}


def changed_since(manifest: dict[str, str]) -> list[str]:
    """The files of the package `cloister` that were added, removed or changed since `manifest`; about 20 ms.

    Libraries and the interpreter are not looked at: a start that measures everything says what changed of these.
    """
    entry = next((name for name in manifest if name == PACKAGE or name.endswith(f"/{PACKAGE}")), None)
    if entry is None:
        return []
    prefix = entry.removesuffix("__init__.py")
    before = {name.removeprefix(prefix): digest for name, digest in manifest.items() if name.startswith(prefix)}
    now = _digests(Path(cloister.__file__).parent)
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _digests(package: Path) -> dict[str, str]:
    """SHA-256 of every file below `package`, bytecode aside, by its path in it."""
    files = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(package).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
