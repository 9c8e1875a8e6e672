"""Sealing one file: shard by shard, each read once, hashed, sealed and written where it belongs, in several threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from pathlib import Path

from cloister.crypto.sealed_stream import (
    PLAIN_SEGMENT,
    SealedStream,
    StreamHead,
    first_segment_from,
)
from cloister.errors import UsageError
from cloister.formats.model_manifest import spans_of
from cloister.sealing.plain_folder import PlainFile, require_unchanged
from cloister.sealing.sealed_target import SealedTarget, segment_room
from cloister.sealing.writing import naming

Done = Callable[[int], None]  # so many bytes more are sealed


@dataclass(frozen=True, slots=True)
class FileSealing:
    """One file on its way: the plain one is read by its descriptor, the sealed one begins with `head`."""

    file: PlainFile
    head: StreamHead
    stream: SealedStream
    plain: int
    sealed: SealedTarget

    def run(self, threads: Executor, done: Done) -> bytes:
        """Seal the whole file; the digests of its shards, one behind the other.

        Raises:
            UsageError: the file changed meanwhile; what was written is of no use.
            OSError: there is no room, or a disk fails.
        """
        if not self.file.size:
            self._seal(0, memoryview(b""), segment_room())
        tasks = [threads.submit(self._shard, begin, end) for begin, end in spans_of(self.file.size)]
        digests = []
        try:
            for (begin, end), task in zip(spans_of(self.file.size), tasks, strict=True):
                digests.append(task.result())
                done(end - begin)
        finally:
            for task in tasks:
                task.cancel()
            wait(tasks)  # the descriptors are closed after this
        require_unchanged(self.plain, self.file)
        return b"".join(digests)

    def _shard(self, begin: int, end: int) -> bytes:
        """Hash what lies between two offsets, and seal the segments that begin there."""
        digest = hashlib.sha256()
        plain, sealed = memoryview(bytearray(PLAIN_SEGMENT)), segment_room()
        number = first_segment_from(begin)
        before = min(end, self.stream.span(number)[0]) - begin if number <= self.stream.last else end - begin
        self._read(begin, plain[:before])  # of a segment that the shard before seals
        digest.update(plain[:before])
        while number <= self.stream.last and self.stream.span(number)[0] < end:
            first, last = self.stream.span(number)
            self._read(first, plain[: last - first])
            digest.update(plain[: min(end, last) - first])
            self._seal(number, plain[: last - first], sealed)
            number += 1
        return digest.digest()

    def _seal(self, number: int, plain: memoryview, room: memoryview) -> None:
        """Seal a segment and write it, the first one behind the head: both are a segment's size together."""
        at, size = self.stream.place(number)
        before = self.head.encode() if number == 0 else b""
        room[: len(before)] = before
        self.stream.seal_into(number, plain, room[len(before) :][:size])
        self.sealed.write(at - len(before), room[: len(before) + size])

    def _read(self, at: int, room: memoryview) -> None:
        done = 0
        while done < len(room):
            with naming(Path(self.file.path)):
                got = os.preadv(self.plain, [room[done:]], at + done)
            if not got:
                raise UsageError(f"{self.file.path} became shorter while it was read: begin again")
            done += got
