"""The machine's own settings, to be compared before and after: attempts that changed one got out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

_ROOT = Path("/proc/sys")
_FOLDERS = ("kernel", "user", "vm", "fs", "net/core")
_COUNTERS = frozenset(  # what the machine changes by itself
    {"kernel/ns_last_pid", "kernel/pty/nr", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "fs/dentry-state"}
    | {"fs/aio-nr", "kernel/random/uuid", "kernel/random/entropy_avail", "kernel/random/boot_id"}
)


def settings() -> dict[str, str]:
    """Every setting that this user can read, by its name below /proc/sys."""
    return dict(_readable())


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The names of the settings that differ."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _readable() -> Iterator[tuple[str, str]]:
    for folder in _FOLDERS:
        for path in (_ROOT / folder).rglob("*"):
            name = str(path.relative_to(_ROOT))
            if name in _COUNTERS or not path.is_file():
                continue
            try:
                yield name, path.read_text(errors="replace")
            except OSError:  # some can only be written, or only by root
                continue
