"""Sealed artifacts: a folder that holds a model's files, each sealed, and a header that says which model it is.

What is in the clear is read without a key: `open_artifact`. With the key a model is opened straight to where
the caller wants it, in several threads, and every shard is held against the manifest's digest: so a digest that stands
in evidence and receipts is of what was loaded, whoever made the artifact. `seal` makes one.
"""

from __future__ import annotations

import errno
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloister.errors import MalformedInput, UsageError
from cloister.formats.model_manifest import SHARD, ModelManifest
from cloister.formats.sealed_artifact import (
    FILES_FOLDER,
    HEADER_FILE,
    MAXIMUM_HEADER,
    UNFINISHED_FILE,
    ArtifactHeader,
    parse_header,
    sealed_name,
)
from cloister.sandbox.model import FileTarget
from cloister.sealing.artifact_key import require_key
from cloister.sealing.plain_folder import read_plain
from cloister.sealing.reading import SealedFile
from cloister.sealing.seal import seal_folder
from cloister.sealing.writing import threads_here
from cloister.secret import SecretBytes

__all__ = ["ARTIFACT_STEPS", "Artifact", "SealedSource", "open_artifact", "seal_folder"]

ARTIFACT_STEPS: Final = ("artifact.whole", "artifact.key", "artifact.header", "artifact.segment", "artifact.digest")
Opened = Callable[[int], None]  # so many bytes more are opened
_AHEAD: Final = 16  # files that are begun before the first of them is whole


@dataclass(frozen=True, slots=True)
class SealedSource:
    """A model's files, in the clear only where they are written to."""

    sealed: tuple[SealedFile, ...]
    key: SecretBytes
    threads: int

    @property
    def files(self) -> Sequence[tuple[str, int]]:
        """Each file's path in the model, and its size in bytes."""
        return [(one.file.path, one.file.size) for one in self.sealed]

    def open_into(self, targets: Iterator[FileTarget], opened: Opened = lambda _: None) -> None:
        """Fill a target for each file, in their order.

        Raises:
            ArtifactRefused: a segment or shard is not the manifest's; nobody writes to a target after that.
            ValueError: there is no target for each file.
        """
        with ThreadPoolExecutor(self.threads, thread_name_prefix="opening") as threads:
            ahead: deque[_Opening] = deque()
            try:
                for one, target in zip(self.sealed, targets, strict=True):
                    shards = range(max(1, len(one.file.digests())))
                    tasks = [threads.submit(one.open_shard, self.key, shard, target.write) for shard in shards]
                    ahead.append(_Opening(one, target, tasks))
                    if len(ahead) > _AHEAD:
                        ahead.popleft().end(opened)
                while ahead:
                    ahead.popleft().end(opened)
            finally:
                threads.shutdown(cancel_futures=True)

    def check(self, opened: Opened) -> None:
        """Open everything, and keep nothing.

        Raises:
            ArtifactRefused: a segment or shard is not the manifest's.
        """
        self.open_into((_Nowhere() for _ in self.sealed), opened)


@dataclass(frozen=True, slots=True)
class _Opening:
    """A file whose shards are being opened."""

    one: SealedFile
    target: FileTarget
    tasks: Sequence[Future[None]]

    def end(self, opened: Opened) -> None:
        """Wait for them in their order.

        Raises:
            ArtifactRefused: one of them is not the manifest's.
        """
        size = self.one.file.size
        for number, task in enumerate(self.tasks):
            task.result()
            opened(min(SHARD, size - number * SHARD))
        self.target.filled()


class _Nowhere:
    """What is opened only to see that it opens."""

    def write(self, at: int, data: memoryview) -> None:
        """Nothing."""

    def filled(self) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What an artifact says in the clear. Its sizes are what they should be; the rest only the key can tell."""

    place: Path
    header: ArtifactHeader
    manifest: ModelManifest
    digest: bytes  # 32 bytes, the manifest's: what contracts and receipts call the model

    def source(self, key: SecretBytes, *, threads: int | None = None) -> SealedSource:
        """The model's files, to be opened in so many threads, or as many as suit this machine.

        Raises:
            UsageError: it is no data key.
            ArtifactRefused: artifact.key or artifact.header: the key is another artifact's, or the header altered.
        """
        require_key(key, self.header)
        return SealedSource(self.sealed, key, threads or threads_here())

    @property
    def sealed(self) -> tuple[SealedFile, ...]:
        """Each file, and where it lies."""
        files = self.place / FILES_FOLDER
        return tuple(
            SealedFile(file, files / sealed_name(number), self.header.id)
            for number, file in enumerate(self.manifest.files)
        )


def open_artifact(path: Path) -> Artifact:
    """Read what is in the clear, and hold every file's size against it; nothing of a model's size is read.

    Raises:
        UsageError: there is no artifact, or one that is not finished.
        TooLarge, MalformedInput: its header is none.
        ArtifactRefused: artifact.whole: a file is missing, or not as long as the header says.
    """
    if (path / UNFINISHED_FILE).exists():
        raise UsageError(f"{path} is not finished: run `cloister model seal` once more as before; it goes on")
    encoded = _read(path / HEADER_FILE, MAXIMUM_HEADER)
    try:
        header, manifest = parse_header(encoded)
    except MalformedInput as error:
        raise MalformedInput(f"{path / HEADER_FILE} is cut or damaged, copy it again: {error}") from error
    artifact = Artifact(path, header, manifest, hashlib.sha256(header.manifest).digest())
    for one in artifact.sealed:
        one.require_whole()
    return artifact


def _read(place: Path, limit: int) -> bytes:
    """A file of at most so many bytes, or one more."""
    try:
        return read_plain(place, limit)
    except OSError as error:
        missing = "; cloister model seal makes one of a model's folder" if error.errno == errno.ENOENT else ""
        at = place if place.parent.is_dir() else place.parent
        raise UsageError(f"{place.parent} is no sealed artifact: {at}: {error.strerror}{missing}") from error
