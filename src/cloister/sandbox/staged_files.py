"""Files at an address: a folder named by the digest of all in it, beside others that share what they have in common.

A folder is there whole or not at all, and nothing is kept for others before it was held against its digest. Which files
they are, and what they are for, is the closure's (closure.py).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cbor2

from cloister.sandbox.errors import SandboxUnavailable

_KEPT = 4
_SHARED = "files"  # by their content
_AT_ONCE = 64  # files for a thread: a task for each costs more than most files do
_SMALL = 1 << 20  # bytes: read at once
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
_UNFINISHED = "unfinished-"
_IN_USE: dict[Path, int] = {}  # descriptors whose locks end with this process and all that it forked
_GIVEN_UP_SECONDS = 3600  # no copying takes as long: whoever began it was ended


def digest_of(files: Mapping[str, bytes]) -> bytes:
    """SHA-256, 32 bytes, over names and digests."""
    return hashlib.sha256(cbor2.dumps(dict(files), canonical=True)).digest()


def file_digests(files: Mapping[str, Path]) -> dict[str, bytes]:
    """SHA-256 of each file's content, in two threads: hashing releases the interpreter's lock."""
    paths = list(files.values())
    pieces = [paths[at : at + _AT_ONCE] for at in range(0, len(paths), _AT_ONCE)]
    with ThreadPoolExecutor(2) as pool:
        digests = (digest for piece in pool.map(_digests_of, pieces) for digest in piece)
        return dict(zip(files, digests, strict=True))


def _digests_of(paths: list[Path]) -> list[bytes]:
    return [_file_digest(path) for path in paths]


def _file_digest(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - of tens of thousands of files
        if os.fstat(file.fileno()).st_size <= _SMALL:
            return hashlib.sha256(file.read()).digest()
        return hashlib.file_digest(file, "sha256").digest()


def require_whole(folder: Path, digest: bytes) -> None:
    """Hold what lies in `folder` against the digest of it all.

    Raises:
        SandboxUnavailable: it is something else.
    """
    if (there := digest_of(_digests_in(folder))) != digest:
        raise SandboxUnavailable(
            f"{folder} holds other files than its name says ({there.hex()[:16]}…): remove {folder.parent}, which is"
            " made anew"
        )


def _digests_in(folder: Path) -> dict[str, bytes]:
    return file_digests(dict(_everything(folder)))


def _everything(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every entry below `folder` that is no folder itself."""
    for below, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(f"{below}/{name}")]  # noqa: PTH114 - as above
        for name in (*files, *links):
            path = Path(below, name)
            yield str(path.relative_to(folder)), path


def copy(sources: Mapping[str, Path], digests: Mapping[str, bytes], folder: Path, programs: Collection[str]) -> None:
    """Copy each of `sources` to its name below `folder`; what is cut short lies under another name.

    Args:
        sources: by their names.
        digests: of each; the folder's name is the digest of them all.
        folder: nothing yet; if another process is faster with the same files, theirs stays.
        programs: names of those that may be started.

    Raises:
        SandboxUnavailable: a source is not what `digests` says any more; nothing of it is kept.
        OSError: a source cannot be read, or a copy not be written.
    """
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    shared = folder.parent / _SHARED
    shared.mkdir(exist_ok=True)
    kept = {name: shared / f"{digests[name].hex()}{'-x' * (name in programs)}" for name in sources}
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_UNFINISHED))
    try:
        made = [name for name in sources if _place(sources[name], unfinished / name, kept[name])]
        for path in (unfinished, *(below for below in unfinished.rglob("*") if below.is_dir())):
            path.chmod(0o755)  # whatever the umask is: another user traverses it
        _require_unchanged(unfinished, digests, kept)
        for name in made:
            with contextlib.suppress(OSError):  # another process was faster
                kept[name].hardlink_to(unfinished / name)
        _rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _place(source: Path, target: Path, kept: Path) -> bool:
    """A link to the copy that another folder has, for most files stay when an engine changes; or one made now: True."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(kept)
    except OSError:  # there is none, or it has as many links as it may have
        shutil.copyfile(source, target)
        target.chmod(0o555 if kept.name.endswith("-x") else 0o444)
        return True
    return False


def _require_unchanged(unfinished: Path, digests: Mapping[str, bytes], kept: Mapping[str, Path]) -> None:
    """Hold the copies against their digests: between hashing and copying somebody may have installed something else.

    Raises:
        SandboxUnavailable: one is another; if it came from what is kept, it is kept no longer.
    """
    found = _digests_in(unfinished)
    others = [name for name, digest in digests.items() if found[name] != digest]
    for name in others:
        kept[name].unlink(missing_ok=True)
    if others:
        raise SandboxUnavailable(
            f"{others[0]} and {len(others) - 1} others changed while they were copied: start again"
        )


def _rename(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError as error:  # another process was faster, with the same files
        if error.errno not in _TAKEN:
            raise


def prune(into: Path) -> None:
    """Every change of the code makes another folder; the ones used longest ago go, and files that were theirs alone.

    So does what somebody began to copy who was ended over it. What a process uses that still runs stays.
    """
    folders = sorted((path for path in into.iterdir() if len(path.name) == 64), key=lambda path: path.stat().st_mtime)
    for path in folders[:-_KEPT]:
        _remove_unused(path)
    for path in _given_up(into):
        shutil.rmtree(path, ignore_errors=True)
    for path in (into / _SHARED).iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_nlink == 1:
                path.unlink()


def use(folder: Path) -> None:
    """Keep `folder` from being pruned until this process has ended, and all that it forked.

    Raises:
        OSError: it is not there.
    """
    if folder not in _IN_USE:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _IN_USE[folder] = descriptor


def _remove_unused(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            return
        finally:
            os.close(descriptor)


def _given_up(into: Path) -> Iterator[Path]:
    """Copies that nobody works at any more; a folder has just been renamed in `into`, which says what time it is."""
    now = into.stat().st_mtime
    for path in into.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(FileNotFoundError):
            if now - path.stat().st_mtime > _GIVEN_UP_SECONDS:
                yield path
