"""Where what is staged stays what it was when it was hashed: out of reach of whoever owns the machine's disks.

A TEE protects memory. What lies on a disk is its host's, who can exchange a block after it was hashed and before an
engine reads it. So on hardware engines are staged in memory, or lie on an image that dm-verity holds against a digest
that was measured at boot. That a mount is read-only says nothing about the disk below.

Source: proc_pid_mountinfo(5), proc_swaps(5); Linux, Documentation/admin-guide/device-mapper/verity.rst.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cloister.sandbox.errors import SandboxUnavailable

_IN_MEMORY = frozenset({"tmpfs", "ramfs", "rootfs"})  # rootfs is what an initramfs is unpacked to
_SWAPPED = frozenset({"tmpfs", "rootfs"})
_VERITY = "CRYPT-VERITY-"  # begins the device mapper's uuid, as cryptsetup's tools and systemd's make it
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system where it is mounted."""

    point: Path
    device: str  # "major:minor"
    options: frozenset[str]
    kind: str  # tmpfs, ext4, …


def unchanging_folder(wanted: Path | None) -> Path:
    """The folder to stage in on hardware: `wanted`, or one in this machine's memory, which is made if missing.

    It is named without links: what leads there now is what was looked at.

    Raises:
        SandboxUnavailable: what is staged there could change later.
    """
    folder = wanted or Path(f"/dev/shm/cloister-stage-{os.geteuid()}")  # noqa: S108 - of this user's alone
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)  # another process may be as far
            folder.chmod(0o755)  # whatever the umask is: the sandbox's user traverses it
        if folder.is_symlink():
            raise _refused(folder, "it is a link, which can lead elsewhere later: name the folder itself")
        resolved = folder.resolve(strict=True)
        require_unchanging(resolved)
    except OSError as error:
        raise SandboxUnavailable(f"engines cannot be staged in {folder}: {error}") from error
    return resolved


def require_unchanging(folder: Path, *, machine: Path = Path("/")) -> None:
    """Hold that nobody but this machine's own code, under this user, can change what lies in `folder`.

    Raises:
        SandboxUnavailable: somebody else can, or no program can be started there.
        OSError: it cannot be looked at.
    """
    mount = mount_of(folder, (machine / "proc/self/mountinfo").read_text())
    if "noexec" in mount.options:
        raise _refused(folder, f"no program can be started from {mount.point} (noexec)")
    if mount.kind in _IN_MEMORY:
        _require_own(folder, mount.point)
        if mount.kind in _SWAPPED and (swap := _swap(machine)):
            raise _refused(
                folder, f"what is in memory there can go to the swap at {swap}, which is its host's: swapoff -a"
            )
    elif not _is_verity(mount, machine):
        raise _refused(folder, f"{mount.point} ({mount.kind}) is neither in memory nor held by dm-verity")


def mount_of(folder: Path, mountinfo: str) -> Mount:
    """The mount that `folder` lies on.

    Raises:
        SandboxUnavailable: none of those listed is.
    """
    mounts = {mount.point: mount for mount in map(_mount, mountinfo.splitlines())}  # the last lies above
    resolved = folder.resolve(strict=True)
    for path in (resolved, *resolved.parents):
        if path in mounts:
            return mounts[path]
    raise _refused(folder, "no mount that this process knows of holds it")


def _mount(line: str) -> Mount:
    mount, _, source = line.partition(" - ")
    fields = mount.split(" ")
    return Mount(Path(_unescaped(fields[4])), fields[2], frozenset(fields[5].split(",")), source.split(" ")[0])


def _unescaped(name: str) -> str:
    r"""A blank, a tab, a line's end and a backslash are written as \040, \011, \012 and \134."""
    for code in ("040", "011", "012", "134"):
        name = name.replace(f"\\{code}", chr(int(code, 8)))
    return name


def _require_own(folder: Path, mounted: Path) -> None:
    """In a folder that all may write to, another user could have been there first; or put another in its place."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        raise _refused(folder, "it is no folder of this user's that nobody else may write to: remove it")
    for above in folder.parents:
        if not above.is_relative_to(mounted):
            return
        found = above.stat()
        if found.st_uid not in {0, os.geteuid()} or (
            found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX
        ):
            raise _refused(folder, f"other users may move it: {above} is theirs to change")


def _swap(machine: Path) -> str:
    """Where pages go that memory has no room for; empty where they stay, compressed (zram) or not."""
    lines = (machine / "proc/swaps").read_text().splitlines()[1:]
    names = (line.split()[0] for line in lines)
    return next((name for name in names if not _is_in_memory(name, machine)), "")


def _is_in_memory(swap: str, machine: Path) -> bool:
    """Whether it is of zram that writes nothing back to a disk, if it can at all."""
    behind = machine / "sys/block" / Path(swap).name / "backing_dev"
    return swap.startswith("/dev/zram") and (not behind.exists() or behind.read_text().strip() == "none")


def _is_verity(mount: Mount, machine: Path) -> bool:
    uuid = machine / "sys/dev/block" / mount.device / "dm/uuid"
    return uuid.exists() and uuid.read_text().startswith(_VERITY)


def _refused(folder: Path, why: str) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"on hardware engines are not staged in {folder}: {why}. Leave stage_folder out of the settings, for memory"
        " (/dev/shm), or name a folder of a tmpfs or ramfs, or of an image under dm-verity"
    )
