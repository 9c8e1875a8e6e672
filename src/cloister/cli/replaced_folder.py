"""A folder that takes another's place at once: whoever looks, and whenever it is cut short, one of the two is there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cloister.errors import UsageError

_UNFINISHED = "unfinished-"
_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which then takes the place of `folder`; of a run that failed or was killed nothing stays.

    The caller keeps others from doing the same meanwhile.

    Raises:
        UsageError: the file system cannot exchange the two; `folder` is as it was.
    """
    for left in folder.parent.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_UNFINISHED))
    try:
        new = unfinished / "new"
        new.mkdir()
        yield new
        if folder.exists():
            _exchange(new, folder)
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(unfinished)


def _exchange(one: Path, other: Path) -> None:
    """Give each the other's name, in one step: renameat2(2), which Python has no name for."""
    renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    if renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        why = os.strerror(ctypes.get_errno())
        raise UsageError(
            f"{other} cannot be exchanged in one step on its file system ({why}), and is as it was: remove it, and run"
            " this command again"
        )
