"""A model as it lies in a plain folder: which files it has, before any of them is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.model_manifest import MAXIMUM_FILE, MAXIMUM_FILES, ModelPath, require_apart
from cloister.formats.model_signature import MAXIMUM_SIGNATURE
from cloister.formats.sealed_artifact import SIGNATURE_FILE

_ANYTHING: Final = 10 * MAXIMUM_FILES  # names that are looked at, those left out too


@dataclass(frozen=True, slots=True)
class PlainFile:
    """One file, as it was when it was looked at."""

    path: str  # within the model
    size: int  # bytes
    changed: int  # nanoseconds since 1970


@dataclass(frozen=True, slots=True)
class PlainFolder:
    """The model's files in the order of their names, and what is no part of it: hidden names, and its signature."""

    root: Path
    files: tuple[PlainFile, ...]
    left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def open(self, file: PlainFile) -> int:
        """A descriptor to read one of the files, which is what it was.

        Raises:
            UsageError: it cannot be read, or was changed since.
        """
        try:
            descriptor = os.open(self.root / file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"{file.path} cannot be read: {error.strerror}") from error
        try:
            require_unchanged(descriptor, file)
        except UsageError:
            os.close(descriptor)
            raise
        return descriptor


def require_unchanged(descriptor: int, file: PlainFile) -> None:
    """Hold an open file against what was seen before.

    Raises:
        UsageError: it is another one, or was written to.
    """
    now = os.fstat(descriptor)
    if not stat.S_ISREG(now.st_mode) or (now.st_size, now.st_mtime_ns) != (file.size, file.changed):
        raise UsageError(f"{file.path} was changed meanwhile: let whatever writes to the folder end, and begin again")


def read_folder(root: Path) -> PlainFolder:
    """Look at a model's folder; no file is opened.

    Raises:
        UsageError: it is no folder, or a name in it is not a plain file's that a model may have; the name is said.
        TooLarge: more than 10,000 files, or one of more than 4 TiB.
    """
    files: list[PlainFile] = []
    left_out: list[str] = []
    try:
        for seen, (path, entry) in enumerate(_entries(root, "")):
            if seen >= _ANYTHING or len(files) >= MAXIMUM_FILES:
                raise TooLarge(f"{root} holds more than {MAXIMUM_FILES} files: no model has so many")
            if entry is None:
                left_out.append(path)
            else:
                files.append(_file(path, entry))
    except OSError as error:
        raise UsageError(f"{error.filename or root} cannot be read: {error.strerror}") from error
    if not files:
        raise UsageError(f"{root} holds no file: name the folder with the model's weights and settings")
    files.sort(key=lambda file: file.path)
    require_apart([file.path for file in files])
    return PlainFolder(root, tuple(files), tuple(sorted(left_out)))


def read_plain(place: Path, limit: int) -> bytes:
    """A file of at most `limit` bytes, or one more; no link is followed, and no pipe or device waited for.

    Raises:
        UsageError: it is no plain file.
        OSError: it cannot be read, or is a link.
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{place} is no plain file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit + 1)
    finally:
        os.close(descriptor)


def signature_in(root: Path) -> bytes | None:
    """The model's signature, unchecked, as it lies in its folder or artifact; nothing where there is none.

    Raises:
        UsageError: it is a link, or cannot be read.
        TooLarge: it is over its cap.
    """
    place = root / SIGNATURE_FILE
    try:
        data = read_plain(place, MAXIMUM_SIGNATURE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{place} cannot be read, or is no plain file: {error.strerror}") from error
    if len(data) > MAXIMUM_SIGNATURE:
        raise TooLarge(f"{place} is over {MAXIMUM_SIGNATURE} bytes")
    return data


def _entries(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Every file by its path, folders' too; without an entry where it is left out."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if path == SIGNATURE_FILE:
                _file(path, entry)  # no part of the model, and a plain file all the same
                yield path, None
            elif entry.name.startswith("."):
                yield path, None
            elif entry.is_dir(follow_symlinks=False):
                _require_name(path)
                yield from _entries(Path(entry.path), f"{path}/")
            else:
                yield path, entry


def _file(path: str, entry: os.DirEntry[str]) -> PlainFile:
    _require_name(path)
    if entry.is_symlink():
        raise UsageError(
            f"{path} is a symbolic link: copy the folder with what its links point to (cp -rL), and seal that"
        )
    if not entry.is_file(follow_symlinks=False):
        raise UsageError(f"{path} is no plain file: a model has plain files and folders only")
    found = entry.stat(follow_symlinks=False)
    if found.st_size > MAXIMUM_FILE:
        raise TooLarge(f"{path} has {found.st_size} bytes, the cap is {MAXIMUM_FILE}")
    return PlainFile(path, found.st_size, found.st_mtime_ns)


def _require_name(path: str) -> None:
    try:
        msgspec.convert(path, ModelPath)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise MalformedInput(
            f"{path!r} is no name that a model's file may have: letters, digits and _ . + = @ , ( ) [ ] - and spaces,"
            " up to 255 characters with its folders, none of which begins with a hyphen"
        ) from error
