"""Where a sealed file is written: whole segments go to the disk past the page cache, if its file system has such a way.

What is sealed is read next elsewhere, or much later. In the cache it would be copied once more, which costs as much as
all the rest, and push out what is of use; and threads that write to one file through the cache wait for each other,
spinning. Source: open(2), O_DIRECT: offset, length and memory have to be aligned, as segments of a MiB are.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from typing import Self, final

from cloister.crypto.sealed_stream import SEGMENT
from cloister.sealing.writing import write_at


def segment_room() -> memoryview:
    """Memory for one segment, where the kernel can take it from."""
    return memoryview(mmap.mmap(-1, SEGMENT))


@final
class SealedTarget:
    """A file by its descriptor, which stays its opener's; any thread may write."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Have it so long: that there is no room is found out now, not in an hour.

        Raises:
            OSError: there is none.
        """
        self._cached = descriptor
        os.posix_fallocate(descriptor, 0, size)
        self._direct: int | None = None
        with contextlib.suppress(OSError):  # it is written through the cache then
            self._direct = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)

    def write(self, at: int, data: memoryview) -> None:
        """Write all of it there; what is in a `segment_room` goes the quicker way if it is a whole segment.

        Raises:
            OSError: a disk fails.
        """
        direct = self._direct if len(data) == SEGMENT and at % SEGMENT == 0 else None
        try:
            write_at(self._cached if direct is None else direct, at, data)
        except OSError as error:
            if direct is None or error.errno != errno.EINVAL:
                raise
            write_at(self._cached, at, data)  # this file system wants it otherwise aligned

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._direct is not None:
            os.close(self._direct)
