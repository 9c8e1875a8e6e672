"""Unsealing: the owner's way back from an artifact to plain files, whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import UsageError
from cloister.formats.sealed_artifact import SIGNATURE_FILE
from cloister.sealing.artifact import Artifact
from cloister.sealing.plain_folder import signature_in
from cloister.sealing.seal import Progress, new_folder
from cloister.sealing.writing import naming, replace_file, sync_folder, write_at
from cloister.secret import SecretBytes


def unseal(artifact: Artifact, key: SecretBytes, target: Path, progress: Progress) -> None:
    """Write the model's plain files into a new folder, readable by this user alone.

    Raises:
        UsageError: the folder holds something, or cannot be made; or the key is no data key.
        ArtifactRefused: a check failed; nothing is left of what was written.
        OSError: there is no room, or a disk fails; likewise.
    """
    target = target.absolute()  # "." has no name
    source, signature = artifact.source(key), signature_in(artifact.place)
    new_folder(target)
    with _partial(target) as partial:
        progress.begun(artifact.manifest.size, 0)
        with contextlib.ExitStack() as made:
            files = (_made(partial / path, size, made) for path, size in source.files)
            source.open_into(files, progress.advanced)
        if signature is not None:
            replace_file(partial / SIGNATURE_FILE, signature)
        partial.rename(target)
        sync_folder(target.parent)


@contextlib.contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """An empty folder beside the target, for this run alone; gone behind it, if it is not the target by then.

    What a run that was killed left there is removed first: half a model in the clear helps nobody.

    Raises:
        UsageError: it cannot be made, or another run is unsealing there.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"nothing can be written beside {target}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run is unsealing into {target}: let it end") from error
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise UsageError(f"{partial} is there, and others may look into it: remove it first")
        try:
            _clear(partial)
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def _made(place: Path, size: int, made: contextlib.ExitStack) -> _PlainFile:
    """A file that has its room on the disk already: a full one is told now, and not in an hour."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = made.enter_context(io.FileIO(os.open(place, flags, 0o600), "wb"))
    with naming(place):
        if size:
            os.posix_fallocate(file.fileno(), 0, size)
    return _PlainFile(file, place)


@dataclass(frozen=True, slots=True)
class _PlainFile:
    """A file that is written, and on disk when it is whole."""

    file: io.FileIO
    place: Path

    def write(self, at: int, data: memoryview) -> None:
        """In any thread."""
        with naming(self.place):
            write_at(self.file.fileno(), at, data)

    def filled(self) -> None:
        """Nobody writes to it any more."""
        with naming(self.place):
            os.fsync(self.file.fileno())
        self.file.close()
