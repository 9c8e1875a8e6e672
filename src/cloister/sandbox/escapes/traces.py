"""Ways to leave something to the next request, or to see the one beside it, by what processes and files share."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Iterator

_FOLDER, _PROGRAM = "/usr", "/usr/bin/env"  # in every tier, and nobody's own
_FIOASYNC = 0x5452
_IN_OPEN = 0x20
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def shared() -> Iterator[socket.socket]:
    """The listening socket: one open file, which its parent and whatever that forks have too."""
    with socket.socket(fileno=os.dup(int(os.environ["LISTEN_FD"]))) as listener:  # noqa: TID251 - as every engine's
        yield listener


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor to read what lies at `path`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def library(name: str, *arguments: object) -> int:
    """A function of the C library's; a result below zero raises what it means."""
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def set_flags() -> str:
    """Its flags, to what they are."""
    with shared() as listener:
        fcntl.fcntl(listener, fcntl.F_SETFL, fcntl.fcntl(listener, fcntl.F_GETFL))
    return "set"


def ask_for_signals() -> str:
    """One more of its flags, which has the kernel signal its owner; and back."""
    with shared() as listener:
        fcntl.ioctl(listener, _FIOASYNC, struct.pack("i", 1))
        fcntl.ioctl(listener, _FIOASYNC, struct.pack("i", 0))
    return "asked"


def lock_descriptor() -> str:
    """A lock that its open file keeps when this process ends; let go of again."""
    with shared() as listener:
        fcntl.flock(listener, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(listener, fcntl.LOCK_UN)
    return "locked"


def lock_file() -> str:
    """A file of the machine's, which anyone could find locked."""
    with opened(_PROGRAM) as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return "locked"


def lock_part() -> str:
    """Some bytes of it."""
    with opened(_PROGRAM) as file:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1)
    return "locked"


def follow() -> str:
    """A signal for every change in a folder."""
    with opened(_FOLDER) as folder:
        fcntl.fcntl(folder, fcntl.F_NOTIFY, fcntl.DN_ACCESS)
    return "followed"


def watch() -> str:
    """An event whenever somebody opens a file."""
    descriptor = library("inotify_init1", os.O_CLOEXEC)
    try:
        library("inotify_add_watch", descriptor, _FOLDER.encode(), _IN_OPEN)
    finally:
        os.close(descriptor)
    return "watched"


def let_go() -> str:
    """A file's pages out of the machine's memory, which whoever reads it next can time."""
    with opened(_PROGRAM) as file:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    return "let go"


def fetch() -> str:
    """A file's pages into the machine's memory."""
    with opened(_PROGRAM) as file:
        library("readahead", file, ctypes.c_long(0), ctypes.c_size_t(mmap.PAGESIZE))
    return "fetched"


def look() -> str:
    """Which of its own pages are in the machine's memory: `mincore`, which tells so of a file's too."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    start = ctypes.c_char.from_buffer(memory)
    library("mincore", ctypes.byref(start), ctypes.c_size_t(mmap.PAGESIZE), ctypes.create_string_buffer(1))
    return "seen"


def share() -> str:
    """Its own pages with equal ones of other processes, which whoever writes one can time."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    memory.madvise(mmap.MADV_MERGEABLE)
    return "shared"


ATTEMPTS = {
    "change the flags of what others have open": set_flags,
    "have others signalled by what they have open": ask_for_signals,
    "lock what others have open": lock_descriptor,
    "lock a file of the machine": lock_file,
    "lock a part of a file of the machine": lock_part,
    "follow the changes in a folder": follow,
    "watch who opens a file": watch,
    "let go of a file's pages": let_go,
    "fetch a file's pages": fetch,
    "see which pages are in memory": look,
    "share pages with other processes": share,
}
LEFT_TO_A_SERVER = frozenset(ATTEMPTS)  # all its requests are one program's
OUTSIDE = frozenset(ATTEMPTS) - {"share pages with other processes"}  # not every kernel is built for that
