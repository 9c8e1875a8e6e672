"""Ways out by process: new ones, other ones, more rights for this one, namespaces and mounts."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial

_APP = os.environ.get("APP", "/app")  # noqa: TID251 - where the sandbox has no names of its own, it says where
_TMP = os.environ.get("TMPDIR", "/tmp")  # noqa: TID251
_libc = ctypes.CDLL(None, use_errno=True)
_MACHINE = os.uname().machine
_COLUMN = {"x86_64": 0, "aarch64": 1}[_MACHINE]
ALLOWED: dict[str, int] = {}  # by the limits of the profile that is tried; the probe is told
NUMBERS = {  # x86-64, AArch64
    "clone": (56, 220),
    "clone3": (435, 435),
    "execveat": (322, 281),
    "kcmp": (312, 272),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "setns": (308, 268),
    "unshare": (272, 97),
    "pivot_root": (155, 41),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "mount_setattr": (442, 442),
    "capset": (126, 91),
    "landlock_create_ruleset": (444, 444),
    "seccomp": (317, 277),
    "ioprio_set": (251, 30),
}


def call(name: str, *arguments: object) -> str:
    """A system call by its number; a result below zero raises what it means."""
    result = _libc.syscall(NUMBERS[name][_COLUMN], *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return f"{name} gave {result}"


def library(name: str, *arguments: object) -> str:
    """A function of the C library's."""
    if getattr(_libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
    return name


def fork() -> str:
    """A child, which ends at once."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "forked"


def fork_bomb() -> str:
    """Children of children: here one of each, where there may be none."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            fork()
        os._exit(0)
    os.waitpid(child, 0)
    return "bombed"


def spawn() -> str:
    """A program as a child."""
    child = os.posix_spawn("/usr/bin/true", ["true"], {})
    os.waitpid(child, 0)
    return "spawned"


def clone(flags: int) -> str:
    """A child by the bare system call, with `flags`."""
    child = _libc.syscall(NUMBERS["clone"][_COLUMN], flags | signal.SIGCHLD, 0, 0, 0, 0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone")
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "cloned"


def become(path: str) -> str:
    """Another program in this one's place."""
    os.execv(path, [path])
    return "unreachable"


def become_memory() -> str:
    """A program that is in memory alone."""
    program = os.memfd_create("program")
    with open("/usr/bin/true", "rb") as file:
        os.write(program, file.read())
    return call("execveat", program, b"", None, None, 0x1000)


def become_script() -> str:
    """A program of its own making in the scratch."""
    path = f"{_TMP}/escape-program"
    with open(path, "w") as file:
        file.write("#!/usr/bin/true\n")
    os.chmod(path, 0o4755)
    return become(path)


def see_others() -> list[str]:
    """Processes beyond its own, its parent in the sandbox, and the one it was started by."""
    processes = [name for name in os.listdir("/proc") if name.isdigit()]
    if len(processes) > 4:
        return processes
    raise PermissionError(1, "there are none but the sandbox's own")


def find_others(look: Callable[[int], object]) -> list[int]:
    """Processes found by their numbers, without a list: those below its own, and the machine's first."""
    own = os.getpid()
    found = [number for number in range(1, 300) if _is_there(number, look)]
    found += [number for number in range(max(300, own - 2000), own + 1) if _is_there(number, look)]
    if len(found) > 4:
        return found
    raise PermissionError(1, "there are none but the sandbox's own")


def _is_there(number: int, look: Callable[[int], object]) -> bool:
    try:
        look(number)
    except OSError:
        return False
    return True


def read_parent(what: str) -> bytes:
    """A file of its parent's in /proc."""
    descriptor = os.open(f"/proc/{os.getppid()}/{what}", os.O_RDONLY)
    try:
        return os.read(descriptor, 16)
    finally:
        os.close(descriptor)


def signal_process(number: int) -> str:
    """Whether the process could be sent a signal; none is sent."""
    os.kill(number, 0)
    return "could"


def signal_by_descriptor(command: int, argument: int) -> str:
    """Have the kernel signal another process when a pipe of this one's can be read; none is sent."""
    read_end, write_end = os.pipe()
    try:
        fcntl.fcntl(read_end, command, argument)
    finally:
        os.close(read_end)
        os.close(write_end)
    return "could"


def signal_by_socket(command: int) -> str:
    """The same by a command to a device or a socket."""
    with socket.socket(fileno=os.dup(int(os.environ["LISTEN_FD"]))) as listener:  # noqa: TID251 - as every engine's
        fcntl.ioctl(listener, command, struct.pack("i", os.getppid()))
    return "could"


def raise_limit(which: int) -> str:
    """A resource limit above what was set."""
    soft, hard = resource.getrlimit(which)
    try:
        resource.setrlimit(which, (soft, hard + 1))
    except ValueError as error:  # Python's word for EPERM
        raise PermissionError(1, str(error)) from error
    return "raised"


def limit_parent(which: int) -> str:
    """Take from its parent what it needs: the parent serves others."""
    resource.prlimit(os.getppid(), which, resource.prlimit(os.getppid(), which))
    return "limited"


def hurry() -> str:
    """Be served before everyone else."""
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    return "hurried"


def real_time() -> str:
    """Be served before everyone else, always."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    return "real time"


def thread_bomb() -> str:
    """More threads than tasks are allowed; they end afterwards."""
    release = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(ALLOWED["tasks"] + 1):
            thread = threading.Thread(target=release.wait, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise PermissionError(11, f"after {len(started)} threads: {error}") from error
            started.append(thread)
    finally:
        release.set()
        for thread in started:
            thread.join()
    return f"{len(started)} threads"


def trace_itself() -> str:
    """Let its parent trace a child."""
    child = os.fork()
    if child == 0:
        os._exit(0 if _libc.ptrace(0, 0, 0, 0) == 0 else 1)
    if os.waitpid(child, 0)[1]:
        raise PermissionError(1, "the child could not ask for it")
    return "traced"


def in_child(attempt: Callable[[], object]) -> str:
    """For the control: what would change the process that tries it is tried in a child, where there can be one."""
    try:
        child = os.fork()
    except PermissionError:
        return str(attempt())  # inside: nothing is lost if it works
    if child == 0:
        try:
            attempt()
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(status, os.strerror(status))
    return "did it in a child"


_NAMESPACES = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "UTS": 0x04000000,
    "IPC": 0x08000000,
    "user": 0x10000000,
    "PID": 0x20000000,
    "network": 0x40000000,
    "time": 0x00000080,
}
_PR_SET_PDEATHSIG, _PR_CAP_AMBIENT, _PR_SET_NO_NEW_PRIVS = 1, 47, 38
LEFT_TO_A_SERVER = frozenset(  # it is one program of several processes, for all requests
    {
        "fork",
        "explode in forks",
        "start a program",
        "clone a process",
        "clone sharing its memory",
        "become a program",
        "become a shell",
        "become the interpreter again",
        "signal its parent",
        "signal everyone",
        "limit its parent",
        "change Landlock's rules",
        "outlive its engine",
    }
)
ATTEMPTS = {
    "fork": fork,
    "explode in forks": fork_bomb,
    "explode in threads": thread_bomb,
    "start a program": spawn,
    "clone a process": partial(clone, 0),
    "clone with a user namespace": partial(clone, _NAMESPACES["user"]),
    "clone sharing its memory": partial(clone, 0x4000),
    "clone by clone3": partial(call, "clone3", ctypes.create_string_buffer(88), 88),
    "become a program": partial(in_child, partial(become, "/usr/bin/true")),
    "become a shell": partial(in_child, partial(become, "/bin/sh")),
    "become the interpreter again": partial(in_child, partial(become, f"{_APP}/bin/python")),
    "become a program in memory": partial(in_child, become_memory),
    "become a setuid program of its own": become_script,
    "trace its parent": partial(call, "ptrace", 16, os.getppid(), 0, 0),
    "be traced": trace_itself,
    "read its parent's memory": partial(read_parent, "mem"),
    "read its parent's system calls": partial(read_parent, "syscall"),
    "read a process's memory": partial(call, "process_vm_readv", os.getppid(), None, 0, None, 0, 0),
    "write a process's memory": partial(call, "process_vm_writev", os.getppid(), None, 0, None, 0, 0),
    "compare itself with its parent": partial(call, "kcmp", os.getpid(), os.getppid(), 0, 0, 0),
    "hold its parent by a descriptor": partial(call, "pidfd_open", os.getppid(), 0),
    "take a descriptor of its parent's": partial(call, "pidfd_getfd", 0, 0, 0),
    "signal its parent": partial(signal_process, os.getppid()),
    "signal the first process": partial(signal_process, 1),
    "signal everyone": partial(signal_process, -1),
    "signal its parent by a pipe": partial(signal_by_descriptor, 8, os.getppid()),
    "choose which signal a pipe sends": partial(signal_by_descriptor, 10, signal.SIGKILL),
    "signal its parent by its socket": partial(signal_by_socket, 0x8901),
    "signal its parent's group by its socket": partial(signal_by_socket, 0x8902),
    "see other processes": see_others,
    "find other processes by their numbers": partial(find_others, os.getpgid),
    "find other processes in /proc by their numbers": partial(find_others, lambda number: os.stat(f"/proc/{number}")),
    "become root": partial(library, "setuid", 0),
    "become root's group": partial(library, "setgid", 0),
    "join root's groups": partial(library, "setgroups", 1, ctypes.byref(ctypes.c_uint(0))),
    "take capabilities": partial(call, "capset", b"\x22\x05\x08\x20\0\0\0\0", b"\xff" * 24),
    "keep capabilities": partial(library, "prctl", _PR_CAP_AMBIENT, 2, 21, 0, 0),
    "allow new privileges": partial(library, "prctl", _PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0),
    "add a filter that allows": partial(call, "seccomp", 1, 0, 0),
    "change Landlock's rules": partial(call, "landlock_create_ruleset", None, 0, 1),
    "outlive its engine": partial(in_child, partial(library, "prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0)),
    "open more files": partial(raise_limit, resource.RLIMIT_NOFILE),
    "write larger files": partial(raise_limit, resource.RLIMIT_FSIZE),
    "leave a core dump": partial(raise_limit, resource.RLIMIT_CORE),
    "limit its parent": partial(limit_parent, resource.RLIMIT_NOFILE),
    "hurry": hurry,
    "run in real time": real_time,
    "read disks first": partial(call, "ioprio_set", 1, 0, (1 << 13) | 0),
    **{
        f"make a {name} namespace": partial(in_child, partial(call, "unshare", flag))
        for name, flag in _NAMESPACES.items()
    },
    "enter a namespace": partial(call, "setns", 0, 0),
    "mount": partial(library, "mount", b"none", _TMP.encode(), b"tmpfs", 0, None),
    "mount the host's disk": partial(library, "mount", b"/dev/vda", _TMP.encode(), b"ext4", 0, None),
    "mount anew, writable": partial(library, "mount", None, b"/usr", None, 0x20 | 0x1000, None),
    "unmount": partial(library, "umount2", b"/proc", 2),
    "open a file system": partial(call, "fsopen", b"tmpfs", 0),
    "open a tree of mounts": partial(call, "open_tree", -100, b"/", 1),
    "change a mount": partial(call, "mount_setattr", -100, b"/", 0, ctypes.create_string_buffer(32), 32),
    "change its root": partial(library, "chroot", _TMP.encode()),
    "swap its root": partial(call, "pivot_root", _TMP.encode(), _TMP.encode()),
}
OUTSIDE = frozenset(
    {
        "fork",
        "explode in forks",
        "explode in threads",
        "start a program",
        "clone a process",
        "become a program",
        "become a shell",
        "become a program in memory",
        "be traced",
        "compare itself with its parent",
        "hold its parent by a descriptor",
        "signal its parent",
        "signal its parent by a pipe",
        "choose which signal a pipe sends",
        "signal its parent by its socket",
        "outlive its engine",
        "see other processes",
        "find other processes by their numbers",
        "find other processes in /proc by their numbers",
        "change Landlock's rules",
    }
)
DENIED_FROM = {  # by the tier of contracts; every other attempt by every tier
    "find other processes by their numbers": "namespaces",
    "find other processes in /proc by their numbers": "namespaces",
}
# Under gVisor, the first process is the engine itself, and whom it would hurry before are its own.
OF_ITS_OWN_KERNEL = frozenset({"signal the first process", "hurry"})
