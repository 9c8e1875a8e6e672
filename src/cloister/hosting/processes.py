"""Names processes so that a number used again is never taken for the process that had it before (Linux)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

_POLL_SECONDS = 0.05


class ProcessName(msgspec.Struct, frozen=True, kw_only=True):
    """A process id, the clock ticks after boot at which it started, and the boot."""

    pid: int
    started: int
    boot: str


def name_of(pid: int) -> ProcessName | None:
    """The name of the process that has `pid` now; None where none runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command's name, in brackets, may hold anything
    return None if fields[0] in "ZX" else ProcessName(pid=pid, started=int(fields[19]), boot=boot)


def lives(name: ProcessName) -> bool:
    """Whether the process still runs."""
    return name_of(name.pid) == name


def send(name: ProcessName, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False where it is gone.

    The descriptor holds the process while its name is compared, so that no other can take its number in between.
    """
    try:
        descriptor = os.pidfd_open(name.pid)
    except OSError:
        return False
    try:
        if name_of(name.pid) != name:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        return True
    finally:
        os.close(descriptor)


def wait_for_end(names: Sequence[ProcessName], *, seconds: float) -> list[ProcessName]:
    """Wait until all have ended; those that still run after `seconds`."""
    deadline = time.monotonic() + seconds
    alive = [name for name in names if lives(name)]
    while alive and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        alive = [name for name in alive if lives(name)]
    return alive
