"""Ways to change the model that was filled in: one request's doing would be every later one's model."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial

_MODEL = os.environ.get("MODEL", "/model")  # noqa: TID251 - where the sandbox says that it is
_TMP = os.environ.get("TMPDIR", "/tmp")  # noqa: TID251
_WEIGHTS = f"{_MODEL}/weights"
_SET_HINT = 1036  # F_SET_RW_HINT
_GET_FLAGS, _SET_FLAGS, _NO_DUMP = 0x80086601, 0x40086602, 0x40  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_NODUMP_FL
_SET_ATTRIBUTES = 469  # file_setattr, which sets the same flags, on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


def write() -> str:
    """Over its first byte."""
    descriptor = os.open(_WEIGHTS, os.O_WRONLY)
    try:
        os.write(descriptor, b"x")
    finally:
        os.close(descriptor)
    return "written"


def write_as_its_owner() -> str:
    """As its owner may, once its mode allows it."""
    os.chmod(_WEIGHTS, 0o600)
    return write()


def write_by_another_name() -> str:
    """Open for writing what was opened for reading."""
    descriptor = os.open(_WEIGHTS, os.O_RDONLY)
    try:
        os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR))
    finally:
        os.close(descriptor)
    return "opened"


def map_writable() -> str:
    """Map what was opened for reading, and then allow writing to the memory."""
    descriptor = os.open(_WEIGHTS, os.O_RDONLY)
    try:
        with mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            address = _address(descriptor)
            if _libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE) < 0:
                raise OSError(ctypes.get_errno(), "mprotect")
            return f"could write to {len(mapped)} bytes"
    finally:
        os.close(descriptor)


def _address(descriptor: int) -> int:
    """Where a shared mapping of the file is: one of the C library's own, since Python's keeps its address to itself."""
    _libc.mmap.restype = ctypes.c_void_p
    found = _libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, ctypes.c_long(0))
    if found is None or found == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return int(found)


def truncate() -> str:
    """To the size that it has."""
    os.truncate(_WEIGHTS, os.path.getsize(_WEIGHTS))
    return "truncated"


def add() -> str:
    """A file beside it, as an engine would load it too."""
    path = f"{_MODEL}/added"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(path)
    return "added"


def add_as_its_owner() -> str:
    """The same, once the folder's mode allows it."""
    os.chmod(_MODEL, 0o700)
    return add()


def rename() -> str:
    """Out of its way, and back."""
    os.rename(_WEIGHTS, f"{_MODEL}/moved")
    os.rename(f"{_MODEL}/moved", _WEIGHTS)
    return "renamed"


def keep() -> str:
    """A copy in the scratch, for whoever comes next."""
    path = f"{_TMP}/escape-weights"
    with open(_WEIGHTS, "rb") as file, open(path, "wb") as copy:
        copy.write(file.read(mmap.PAGESIZE))
    with contextlib.suppress(OSError):
        os.unlink(path)
    return "kept"


def hint() -> str:
    """How long its content will be of use: two bits of a file, which stay."""
    with _opened() as descriptor:
        fcntl.fcntl(descriptor, _SET_HINT, struct.pack("Q", 3))
    return "hinted"


def flag() -> str:
    """One of its flags that its owner may set by a descriptor to read it."""
    with _opened() as descriptor:
        before = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("Q", struct.unpack("Q", before)[0] | _NO_DUMP))
    return "flagged"


def flag_by_name() -> str:
    """The same by its name, to none."""
    attributes = ctypes.create_string_buffer(24)
    if _libc.syscall(_SET_ATTRIBUTES, -100, _WEIGHTS.encode(), attributes, ctypes.c_size_t(24), 0) < 0:
        raise OSError(ctypes.get_errno(), "file_setattr")
    return "flagged"


def lease() -> str:
    """Be told before somebody writes to it."""
    with _opened() as descriptor:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    return "leased"


def swap_out() -> str:
    """Its pages out of memory, which whoever reads it next can time."""
    with _opened() as descriptor:
        mapped = mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        mapped.madvise(getattr(mmap, "MADV_PAGEOUT", 21))
    return "swapped out"


def be_seen(read: Callable[[], object], path: str) -> str:
    """Have the time at which it was last read say that it was."""
    before = os.stat(path).st_atime_ns
    read()
    found = os.stat(path)
    if found.st_atime_ns != before or found.st_mtime_ns < found.st_atime_ns <= time.time_ns():
        return f"it was read at {found.st_atime_ns}"
    raise PermissionError(1, "its time of access stays as it is")


def read() -> None:
    """Its first byte."""
    with _opened() as descriptor:
        os.read(descriptor, 1)


@contextlib.contextmanager
def _opened() -> Iterator[int]:
    descriptor = os.open(_WEIGHTS, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


ATTEMPTS = {
    "write to the model": write,
    "write to the model as its owner": write_as_its_owner,
    "write to the model by another name": write_by_another_name,
    "map the model writable": map_writable,
    "truncate the model": truncate,
    "add a file to the model": add,
    "add a file to the model as its owner": add_as_its_owner,
    "rename a file of the model": rename,
    "keep a copy of the model for the next request": keep,
    "leave a hint at a file of the model": hint,
    "leave a flag at a file of the model": flag,
    "leave a flag at a file of the model by its name": flag_by_name,
    "lease a file of the model": lease,
    "send the model's pages out of memory": swap_out,
    "have a file of the model say that it was read": partial(be_seen, read, _WEIGHTS),
    "have the model's folder say that it was listed": partial(be_seen, partial(os.listdir, _MODEL), _MODEL),
}
_UNSEEN = {  # which file systems keep times of access, and which kernels set flags, is their own affair
    "have a file of the model say that it was read",
    "have the model's folder say that it was listed",
    "leave a flag at a file of the model",
    "leave a flag at a file of the model by its name",
}
# It may copy to its own scratch what it may read, and leave marks. (Its own kernel's files, gVisor's, it may change as
# their owner.)
LEFT_TO_A_SERVER = frozenset(
    {
        "keep a copy of the model for the next request",
        "leave a hint at a file of the model",
        "leave a flag at a file of the model",
        "leave a flag at a file of the model by its name",
        "lease a file of the model",
        "send the model's pages out of memory",
    }
)
OF_ITS_OWN_KERNEL = frozenset(ATTEMPTS) - {"map the model writable"}
OUTSIDE = frozenset(ATTEMPTS) - {"map the model writable"} - _UNSEEN
