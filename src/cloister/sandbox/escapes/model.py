"""Ways to change the model that was filled in: one request's doing would be every later one's model."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os

_MODEL = os.environ.get("MODEL", "/model")  # noqa: TID251 - where the sandbox says that it is
_TMP = os.environ.get("TMPDIR", "/tmp")  # noqa: TID251
_WEIGHTS = f"{_MODEL}/weights"
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
}
# It may copy to its own scratch what it may read. (Its own kernel's files, gVisor's, it may change as their owner.)
LEFT_TO_A_SERVER = frozenset({"keep a copy of the model for the next request"})
OF_ITS_OWN_KERNEL = frozenset(ATTEMPTS) - {"map the model writable"}
OUTSIDE = frozenset(ATTEMPTS) - {"map the model writable"}
