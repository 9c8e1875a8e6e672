"""Opening one sealed file: shard by shard, each by itself, so that several threads share the work on one file.

A shard's ends fall within segments, which are opened a second time for its neighbour: one in sixty-four.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloister.crypto.sealed_stream import (
    HEADER_SIZE,
    PLAIN_SEGMENT,
    SEGMENT,
    SealedStream,
    SegmentBroken,
    StreamHead,
    sealed_size,
    segment_at,
)
from cloister.errors import MalformedInput
from cloister.formats.model_manifest import SHARD, ModelFile
from cloister.formats.sealed_artifact import associated_data
from cloister.sealing.refusal import ArtifactRefused
from cloister.secret import SecretBytes

Taken = Callable[[int, memoryview], None]  # what is done with the plaintext at an offset of the file
_NO_DIGEST: Final = hashlib.sha256().digest()


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file of an artifact: what it holds by the manifest, and where it lies sealed."""

    file: ModelFile
    place: Path
    artifact: bytes  # its id, 16 bytes

    def require_whole(self) -> None:
        """Hold its size against the manifest's.

        Raises:
            ArtifactRefused: artifact.whole.
        """
        with self._opened():
            pass

    def open_shard(self, key: SecretBytes, number: int, taken: Taken) -> None:
        """Open one shard, have it taken part by part, and hold it against its digest.

        An empty file has no shard; its number 0 is opened all the same, since its one segment proves that it is empty.

        Raises:
            ArtifactRefused: artifact.whole, artifact.segment or artifact.digest; what was taken is of no use.
        """
        begin, end = number * SHARD, min((number + 1) * SHARD, self.file.size)
        digest = hashlib.sha256()
        with self._opened() as descriptor:
            for part in self._parts(descriptor, key, begin, end):
                digest.update(part)
                taken(begin, part)
                begin += len(part)
        expected = self.file.digests()[number] if self.file.size else _NO_DIGEST
        if digest.digest() != expected:
            raise ArtifactRefused("artifact.digest", f"{self.file.path}: shard {number} is not what the manifest says")

    def _parts(self, descriptor: int, key: SecretBytes, begin: int, end: int) -> Iterator[memoryview]:
        """The plaintext between two offsets, in parts: each is there until the next one."""
        stream = self._stream(descriptor, key)
        sealed, plain = memoryview(bytearray(SEGMENT)), memoryview(bytearray(PLAIN_SEGMENT))
        try:
            for number in range(segment_at(begin), segment_at(max(begin, end - 1)) + 1):
                first, last = stream.span(number)
                self._open(descriptor, stream, number, sealed, plain[: last - first])
                yield plain[max(begin - first, 0) : min(end, last) - first]
        finally:
            plain[:] = bytes(PLAIN_SEGMENT)  # what this process gives back to its heap tells nothing

    def _open(self, descriptor: int, stream: SealedStream, number: int, sealed: memoryview, plain: memoryview) -> None:
        at, size = stream.place(number)
        self._read(descriptor, at, sealed[:size])
        try:
            stream.open_into(number, sealed[:size], plain)
        except SegmentBroken as error:
            raise ArtifactRefused(
                "artifact.segment", f"{self.file.path}: {error}; it was altered, moved, or is another file's or model's"
            ) from error

    def _stream(self, descriptor: int, key: SecretBytes) -> SealedStream:
        head = memoryview(bytearray(HEADER_SIZE))
        self._read(descriptor, 0, head)
        try:
            parsed = StreamHead.parse(bytes(head))
        except MalformedInput as error:
            raise ArtifactRefused("artifact.whole", f"{self.file.path}: {error}") from error
        return SealedStream(key, parsed, associated=associated_data(self.artifact, self.file.path), size=self.file.size)

    def _read(self, descriptor: int, at: int, room: memoryview) -> None:
        done = 0
        while done < len(room):
            got = os.preadv(descriptor, [room[done:]], at + done)
            if not got:
                raise ArtifactRefused("artifact.whole", f"{self.file.path} was cut while it was read")
            done += got

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of the sealed file, which is of the size that the manifest asks for."""
        try:
            descriptor = os.open(self.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            said = f"{self.file.path}: {self.place.name} cannot be read: {error.strerror}"
            raise ArtifactRefused("artifact.whole", said) from error
        try:
            found, size = os.fstat(descriptor), sealed_size(self.file.size)
            if not stat.S_ISREG(found.st_mode):
                raise ArtifactRefused("artifact.whole", f"{self.file.path}: {self.place.name} is no plain file")
            if found.st_size != size:
                said = f"{self.file.path}: {found.st_size} bytes sealed, and {size} belong to the size it claims"
                raise ArtifactRefused("artifact.whole", said)
            yield descriptor
        finally:
            os.close(descriptor)
