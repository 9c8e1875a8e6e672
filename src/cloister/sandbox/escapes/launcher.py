"""What is left of an engine when its launcher is killed, and for how long: a launcher of its own is killed to see."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from cloister.errors import CloisterError
from cloister.sandbox import process
from cloister.sandbox.closure import stage
from cloister.sandbox.escapes.suite import PROBE
from cloister.sandbox.plan import Choice, plan

_PATIENCE_SECONDS = 5.0


class LauncherFailed(CloisterError):
    """The launcher did not start an engine."""


class EngineSurvived(CloisterError):
    """Processes of the engine's outlived their launcher."""


def seconds_to_end(folder: Path, tool: Choice = "auto") -> float:
    """Start an engine by a launcher of its own, kill that with SIGKILL, and time the end of the last process.

    Args:
        folder: ours, and traversable by the sandbox's user; the probe is staged in it.
        tool: what confines it.

    Raises:
        LauncherFailed: there was nothing to kill.
        EngineSurvived: after 5 s something still ran.
    """
    command = [sys.executable, "-I", "-m", "cloister.sandbox.escapes.launcher", str(folder), tool]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:  # noqa: S603 - our own program
        assert launcher.stdout is not None
        said = launcher.stdout.readline().strip()
        engine = descendants(launcher.pid)
        if said != "started" or not engine:
            raise LauncherFailed("the launcher ended before its engine was confined")
        launcher.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        while left := [pid for pid in engine if runs(pid)]:
            if time.monotonic() - killed > _PATIENCE_SECONDS:
                raise EngineSurvived(f"{len(left)} processes of the engine outlived their launcher")
            time.sleep(0.001)
        return time.monotonic() - killed


def descendants(pid: int) -> set[int]:
    """The processes below `pid`, as this machine numbers them."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = {int(child) for child in task.read_text().split()} - found
                found |= children
                waiting += children
    return found


def runs(pid: int) -> bool:
    """Whether the process is there and more than its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


async def hold(folder: Path, tool: Choice) -> None:
    """Start the probe in its sandbox, say so, and wait to be killed."""
    run_folder = folder / "held"
    run_folder.mkdir(mode=0o700)
    await process.start(plan(tool=tool), stage(PROBE, folder / "stage"), run_folder)
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(hold(Path(sys.argv[1]), msgspec.convert(sys.argv[2], Choice)))
