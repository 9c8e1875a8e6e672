"""A log as static files in a folder (C2SP tlog-tiles), as any web server serves them; files are whole or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from cloister.errors import TooLarge, UsageError
from cloister.formats.tile import Tile

CHECKPOINT = "checkpoint"
_READABLE_BY_ALL = 0o644  # what is in it is public, and a web server is another user


class TileFolder:
    """Reads and writes the files of one log. Nothing is checked here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def exists(self) -> bool:
        """Whether there is such a folder."""
        return self.root.is_dir()

    def has(self, path: str) -> bool:
        """Whether there is a file at `path` below the folder."""
        return (self.root / path).is_file()

    def read(self, path: str, *, limit: int) -> bytes | None:
        """The file at `path` below the folder, None where there is none.

        Raises:
            TooLarge: it has more than `limit` bytes.
            UsageError: it cannot be read.
        """
        try:
            with (self.root / path).open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UsageError(f"{self.root / path} cannot be read: {error.strerror}") from error
        if len(data) > limit:
            raise TooLarge(f"{self.root / path} has more than {limit} bytes")
        return data

    def write(self, path: str, data: bytes) -> None:
        """Make `data` the file at `path`, on disk when this returns.

        Raises:
            OSError: it could not be written; what stood there before still stands.
        """
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _READABLE_BY_ALL)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def drop_partials(self, tile: Tile) -> None:
        """Remove what the full `tile` takes the place of."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.root / f"{tile.path}.p")
