"""Writing files so that they are whole and on the disk, or not there; and in how many threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def naming(place: Path) -> Iterator[None]:
    """Have an error of the operating system's about a descriptor say which file that is.

    Raises:
        OSError: as what is done; with the file's name.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(place)) from error


def write_at(descriptor: int, at: int, data: memoryview) -> None:
    """Write all of it there."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], at + done)


def threads_here(*, waiting: int = 1) -> int:
    """How many threads share a file: as this process has cores, 8 at most, and those that may wait for a disk.

    Each has 2 MiB.
    """
    return waiting + min(8, len(os.sched_getaffinity(0)))


def new_file(place: Path) -> int:
    """A descriptor to write a sealed file, from nothing: what an interrupted run left of it is gone.

    Raises:
        OSError: it cannot be made.
    """
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def replace_file(place: Path, data: bytes) -> None:
    """Write a file whole, or leave what was there; on disk when it returns.

    Raises:
        OSError: there is no room, or a disk fails.
    """
    partial = place.with_name(f".{place.name}.partial")
    with naming(place):
        descriptor = new_file(partial)
        try:
            write_at(descriptor, 0, memoryview(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(place)
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk.

    Raises:
        OSError: a disk fails.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
