"""Ways out by file: the host's files, devices, /proc and /sys, and the sandbox's own read-only parts."""

from __future__ import annotations

import contextlib
import os
from functools import partial

_APP = os.environ.get("APP", "/app")  # noqa: TID251 - where the sandbox has no names of its own, it says where
_TMP = os.environ.get("TMPDIR", "/tmp")  # noqa: TID251
_SCRATCH = f"{_TMP}/escape-"
ALLOWED: dict[str, int] = {}  # by the limits of the profile that is tried; the probe is told


def read(path: str) -> bytes:
    """The first bytes of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 256)
    finally:
        os.close(descriptor)


def read_something(path: str) -> bytes:
    """As `read`, where an empty file means that there was nothing to get."""
    if found := read(path):
        return found
    raise PermissionError(1, "it is empty")


def environment_of_first() -> bytes:
    """The environment of the machine's first process; where it is the sandbox's own, it is the engine's."""
    found = read_something("/proc/1/environ")
    if b"LISTEN_FD=" in found:
        raise PermissionError(1, "it is the engine's own")
    return found


def listing(path: str) -> list[str]:
    """The names in a folder; an empty one means that there was nothing to see."""
    if found := os.listdir(path):
        return found
    raise PermissionError(1, "it is empty")


def root_of_first() -> list[str]:
    """The root of the machine's first process; the sandbox's own has a folder that no machine has."""
    found = listing("/proc/1/root/")
    if "sections" in found:
        raise PermissionError(1, "it is the sandbox's own")
    return found


def write(path: str, text: bytes = b"x") -> str:
    """Write to a file, made where it is missing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)
    return "written"


def unfold(path: str) -> str:
    """Remove a file."""
    os.unlink(path)
    return "removed"


def look_at(path: str) -> str:
    """Size and owner of a file, which can be had without opening it."""
    found = os.stat(path)
    return f"{found.st_size} bytes of user {found.st_uid}"


def make_device(kind: int, major: int, minor: int) -> str:
    """A device node in the scratch."""
    path = f"{_SCRATCH}device"
    os.mknod(path, kind | 0o600, os.makedev(major, minor))
    os.unlink(path)
    return "made"


def leave_file() -> str:
    """A file that the next request would find."""
    path = f"{_SCRATCH}left-{os.getpid()}"
    write(path)
    os.unlink(path)
    return "left"


def leave_name() -> str:
    """A name that the next request would find."""
    path = f"{_SCRATCH}named-{os.getpid()}"
    os.mkdir(path)
    os.rmdir(path)
    return "left"


def leave_time() -> str:
    """A time that the next request would find, on the scratch itself."""
    os.utime(_TMP, (1, 1))
    return "left"


def through_link() -> bytes:
    """Read the host's file by a symbolic link in the scratch."""
    path = f"{_SCRATCH}link-{os.getpid()}"
    os.symlink("/etc/passwd", path)
    try:
        return read(path)
    finally:
        os.unlink(path)


def hard_link() -> str:
    """A second name in the scratch for a program of the system's."""
    os.link("/usr/bin/env", f"{_SCRATCH}env")
    return "linked"


def nameless() -> str:
    """A file without a name in the system's folder."""
    os.close(os.open("/usr", os.O_TMPFILE | os.O_RDWR, 0o600))
    return "made"


def up_and_out() -> list[str]:
    """The host's folders by stepping up from an open folder."""
    descriptor = os.open(_APP, os.O_PATH)
    try:
        above = os.open("../../../../../../../../home", os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    try:
        return listing(f"/proc/self/fd/{above}")
    finally:
        os.close(above)


def over_cap() -> str:
    """More scratch than is allowed, in two files."""
    paths = [f"{_SCRATCH}{name}" for name in "ab"]
    try:
        for path in paths:
            with open(path, "wb") as file:
                file.write(bytes(ALLOWED["scratch_bytes"] // 2 + 2**23))
    finally:
        for path in paths:
            with contextlib.suppress(OSError):
                os.unlink(path)
    return "written"


def one_over_cap() -> str:
    """One file over its cap, without writing it."""
    path = f"{_SCRATCH}sparse"
    try:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, ALLOWED["scratch_bytes"] + 2**20)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return "allocated"


def hoard_shared_memory() -> str:
    """More in /dev/shm than is allowed."""
    path = "/dev/shm/escape"
    try:
        with open(path, "wb") as file:
            file.write(bytes(4 * 2**20))
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return "written"


_CHARACTER, _BLOCK = 0o020000, 0o060000
ATTEMPTS = {
    "read the machine's users": partial(read, "/etc/passwd"),
    "read the machine's passwords": partial(read, "/etc/shadow"),
    "read the machine's name": partial(read, "/etc/hostname"),
    "read the host's environment": environment_of_first,
    "look at the machine's users without opening them": partial(look_at, "/etc/passwd"),
    "list root's home": partial(listing, "/root"),
    "list everyone's homes": partial(listing, "/home"),
    "list /var": partial(listing, "/var"),
    "list /run": partial(listing, "/run"),
    "list /boot": partial(listing, "/boot"),
    "list the devices of /sys": partial(listing, "/sys/class"),
    "list the host's root by its process": root_of_first,
    "list the host by stepping up": up_and_out,
    "read a host's file through a link": through_link,
    "link a program into the scratch": hard_link,
    "leave a file for the next request": leave_file,
    "leave a name for the next request": leave_name,
    "leave a time for the next request": leave_time,
    "write to the closure": partial(write, f"{_APP}/packages/escape"),
    "write over the interpreter": partial(write, f"{_APP}/bin/python"),
    "remove a file of the closure": partial(unfold, f"{_APP}/second_stage.py"),
    "write to the system": partial(write, "/usr/lib/escape"),
    "write to the root": partial(write, "/escape"),
    "write to /etc": partial(write, "/etc/ld.so.preload"),
    "make a nameless file in the system": nameless,
    "set the host's core pattern": partial(write, "/proc/sys/kernel/core_pattern", b"|/bin/true"),
    "set the host's name by /proc": partial(write, "/proc/sys/kernel/hostname", b"escaped"),
    "let anyone use io_uring": partial(write, "/proc/sys/kernel/io_uring_disabled", b"0"),
    "let processes be traced": partial(write, "/proc/sys/kernel/yama/ptrace_scope", b"0"),
    "press the magic key": partial(write, "/proc/sysrq-trigger", b"h"),
    "read the kernel's memory": partial(read, "/proc/kcore"),
    "read the kernel's messages": partial(read, "/proc/kmsg"),
    "read the keys in the kernel": partial(read_something, "/proc/keys"),
    "hide from the out-of-memory killer": partial(write, "/proc/self/oom_score_adj", b"-1000"),
    "map its user to root": partial(write, "/proc/self/uid_map", b"0 0 1"),
    "open the machine's memory": partial(read, "/dev/mem"),
    "open the hypervisor's device": partial(read, "/dev/kvm"),
    "open a FUSE device": partial(read, "/dev/fuse"),
    "open a disk": partial(read, "/dev/vda"),
    "open the terminal": partial(read, "/dev/tty"),
    "make a terminal": partial(write, "/dev/ptmx"),
    "make a block device": partial(make_device, _BLOCK, 8, 0),
    "make a character device": partial(make_device, _CHARACTER, 1, 1),
    "hoard memory in /dev/shm": hoard_shared_memory,
    "fill more than the scratch": over_cap,
    "make a file over its cap": one_over_cap,
}
LEFT_TO_A_SERVER = frozenset(
    {"leave a file for the next request", "leave a name for the next request", "leave a time for the next request"}
)
OUTSIDE = frozenset(
    {
        "read the machine's users",
        "read the machine's name",
        "look at the machine's users without opening them",
        "list /var",
        "list /run",
        "list the devices of /sys",
        "read a host's file through a link",
        "leave a file for the next request",
        "leave a name for the next request",
        "fill more than the scratch",
        "make a file over its cap",
        "hoard memory in /dev/shm",
    }
)
COMPARED = frozenset({"list the devices of /sys"})  # another kernel's own are no way out
# By the tier of contracts; every other attempt is denied by every tier.
DENIED_FROM = {"look at the machine's users without opening them": "namespaces"}
# A server under gVisor makes these in gVisor's kernel, of which nothing is the machine's.
OF_ITS_OWN_KERNEL = frozenset({"make a terminal", "make a block device", "make a character device"})
