"""Memory and task limits by control group, where this process may make one: version 2 or 1. Elsewhere rlimits hold.

A group lies beside or below this process's own, so that limits set on us hold for the engine too. It is removed when
its engine has ended; what a killed launcher left is removed at the next start.

Source: Linux's Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/pids.rst.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path

from cloister.sandbox.profile import HeldBy, Limits

_MOUNT = Path("/sys/fs/cgroup")
_NAME = "cloister-"


@dataclass(frozen=True, slots=True)
class Parents:
    """Where a group may be made: one folder for version 2; for version 1 one in each hierarchy, memory's first."""

    held_by: HeldBy
    folders: tuple[Path, ...]


RLIMITS = Parents("rlimits", ())


def find_parents(*, membership: str | None = None, mount: Path = _MOUNT) -> Parents:
    """Where this process may make groups that limit memory and tasks; `RLIMITS` where it may not.

    Args:
        membership: the text of /proc/self/cgroup.
        mount: where the control groups are mounted.
    """
    lines = (membership or Path("/proc/self/cgroup").read_text()).splitlines()
    own = {
        controller: path for _, names, path in (line.split(":", 2) for line in lines) for controller in names.split(",")
    }
    if "memory" in own and "pids" in own:
        folders = tuple(mount / name / own[name].lstrip("/") for name in ("memory", "pids"))
        return Parents("cgroup-v1", folders) if all(_can_make(folder) for folder in folders) else RLIMITS
    if "" in own:
        at = mount / own[""].lstrip("/")
        for folder in (at, *at.parents):
            if folder.is_relative_to(mount) and _delegates(folder) and _can_make(folder):
                return Parents("cgroup-v2", (folder,))
    return RLIMITS


def _delegates(folder: Path) -> bool:
    try:
        return {"memory", "pids"} <= set((folder / "cgroup.subtree_control").read_text().split())
    except OSError:
        return False


def _can_make(folder: Path) -> bool:
    """Asked by making one: ownership alone does not tell (read-only mounts, limits on descendants)."""
    trial = folder / f"{_NAME}{os.getpid()}-trial-{secrets.token_hex(4)}"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One engine's group: what to write one's process id into to enter it, and what counts its deaths for memory."""

    folders: tuple[Path, ...]
    oom_counter: Path | None

    @property
    def entries(self) -> tuple[Path, ...]:
        """The files that a process enters by."""
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    def killed_for_memory(self) -> bool:
        """Whether the kernel has ended a process of the group because its memory was used up."""
        if self.oom_counter is None:
            return False
        try:
            counts = dict(line.split() for line in self.oom_counter.read_text().splitlines())
        except OSError:
            return False
        return int(counts.get("oom_kill", "0")) > 0

    def kill(self) -> None:
        """End every process in the group."""
        for entry in self.entries:
            with contextlib.suppress(OSError):
                for process in map(int, entry.read_text().split()):
                    if process:  # 0 stands for one outside of our namespace, and would be our own group
                        os.kill(process, signal.SIGKILL)

    def remove(self) -> bool:
        """Remove the group; False while a process of it is still ending."""
        try:
            for folder in self.folders:
                if folder.exists():
                    folder.rmdir()
        except OSError:
            return False
        return True


def make(parents: Parents, limits: Limits, *, beside: tuple[int, int] = (0, 0)) -> Cgroup:
    """A group with `limits` below `parents`; one that holds nothing where rlimits do.

    Args:
        parents: where it is made.
        limits: what the engine may have.
        beside: bytes of memory and tasks of what confines it and is in the group with it.
    """
    memory_bytes, tasks = limits.memory_bytes + beside[0], limits.tasks + beside[1]
    remove_leftovers(parents)
    name = f"{_NAME}{os.getpid()}-{secrets.token_hex(4)}"
    folders = tuple(parent / name for parent in parents.folders)
    for folder in folders:
        folder.mkdir()
    if parents.held_by == "cgroup-v2":
        _write(folders[0], {"memory.max": memory_bytes, "pids.max": tasks})
        _write_where_there(folders[0] / "memory.swap.max", 0)
        return Cgroup(folders, folders[0] / "memory.events")
    if parents.held_by == "cgroup-v1":
        _write(folders[0], {"memory.limit_in_bytes": memory_bytes})
        _write_where_there(folders[0] / "memory.memsw.limit_in_bytes", memory_bytes)
        _write_where_there(folders[0] / "memory.swappiness", 0)
        _write(folders[1], {"pids.max": tasks})
        return Cgroup(folders, folders[0] / "memory.oom_control")
    return Cgroup((), None)


def remove_leftovers(parents: Parents) -> None:
    """Remove the groups of launchers that are no more."""
    for parent in parents.folders:
        for folder in parent.glob(f"{_NAME}*"):
            launcher = folder.name.removeprefix(_NAME).partition("-")[0]
            if not Path("/proc", launcher).exists():
                Cgroup((folder,), None).kill()  # they end a moment later, and the group goes at the next start
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _write(folder: Path, values: dict[str, int]) -> None:
    for name, value in values.items():
        (folder / name).write_text(str(value))


def _write_where_there(path: Path, value: int) -> None:
    """For accounting of swap, which a kernel may lack; it then has no swap to account, or says so here."""
    with contextlib.suppress(OSError):
        path.write_text(str(value))
