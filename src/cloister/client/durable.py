"""Files of a client: read under a cap, and replaced so that they are as they were or as they shall be."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def read_at_most(path: Path, limit: int) -> bytes:
    """The content of `path`; of a longer file, `limit` bytes and one more, which its parser refuses by its own cap.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(limit + 1)


def replace_file(path: Path, data: bytes) -> None:
    """Make `data` the whole content of `path`, readable by its owner alone; on disk when this returns.

    Raises:
        OSError: it could not be written; what stood there before still stands.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        error.filename = str(path)  # writes name no file, and the partial one says nothing to a person
        raise
    _sync_folder(path.parent)


def create_file(path: Path, data: bytes) -> None:
    """Make a new file with `data`, readable by its owner alone; on disk when this returns.

    Raises:
        FileExistsError: there is one of that name already; it is as it was.
        OSError: it could not be written; nothing of it is left.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        error.filename = str(path)  # writes name no file
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, too; Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
