"""What services leave behind comes to the supervisor, which ends it: engines in sandboxes have sessions of their own.

Linux gives a process whose parent ended to the nearest ancestor that asked for such ("subreaper", prctl(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans(wanted: bool) -> None:
    """Ask the kernel for the orphans of this process's descendants, or no longer."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def end_orphans(own: Collection[int]) -> list[int]:
    """Kill and collect the children of this process that are not among its `own`; their process ids.

    What such a child itself leaves behind comes here next, so this goes on until there is nothing more.
    """
    ended: list[int] = []
    while found := [pid for pid in children() if pid not in own]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        ended += found
    return ended


def children() -> list[int]:
    """The process ids of this process's children, those that only wait to be collected included."""
    own, children = str(os.getpid()), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                if fields[1] == own:
                    children.append(int(folder.name))
    return children
