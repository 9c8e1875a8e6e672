"""A user for each engine, which no other process of this machine has: none of them may look into it, or trace it.

Whoever has the user of an engine owns its namespaces, and reads through them what only the engine should: its memory
and its model. With one user for all engines, one that broke out of its sandbox would reach all others.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Final

from cloister.sandbox.errors import SandboxUnavailable

USERS: Final = range(60578, 61184)  # nobody's: systemd's UIDS-GIDS.md has them as unused, Debian allocates none


def unused(processes: Path = Path("/proc")) -> int:
    """A user without a process, any of them.

    Args:
        processes: where the kernel shows them.

    Raises:
        SandboxUnavailable: each has one.
    """
    taken = {user for folder in processes.glob("[0-9]*") for user in _users(folder)}
    free = [user for user in USERS if user not in taken]
    if not free:
        raise SandboxUnavailable(f"{len(USERS)} engines run on this machine already, as many as there are users for")
    return secrets.choice(free)


def _users(process: Path) -> list[int]:
    """The users that a process has: real, effective, saved, and that of its files. Its folder's owner may be root."""
    with contextlib.suppress(OSError):
        for line in (process / "status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Uid:"):
                return [int(user) for user in line.split()[1:]]
    return []  # it has ended
