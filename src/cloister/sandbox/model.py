"""Fills a model's files into an engine's sandbox: in memory from the first to the last byte, and once.

The second stage makes the files in the sandbox's own memory, within its limits, and lends their descriptors, one after
another. The opener writes what it opens there, where the engine will read it; the second stage then leaves them to be
read only. So the plaintext lies on no disk, and in no process but the opener's and the engine's. They are written and
not mapped: a page that is mapped to be written to is cleared before, and costs three times as much.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Protocol, final

from cloister.formats.model_manifest import MAXIMUM_FILES
from cloister.sandbox.errors import SandboxUnavailable
from cloister.sandbox.second_stage import FILLED
from cloister.sandbox.sizes import room_for

_LONGEST_PATH = 1024  # bytes
_PIECE = 4 * 1024 * 1024  # bytes, of whole pages
_DESCRIPTOR = struct.Struct("i")
_WAIT_SECONDS = 10.0
_ROOM_BYTES_A_SECOND = 2**29  # at least, of what is set aside for a file


class FileTarget(Protocol):
    """Where one file of a model goes."""

    def write(self, at: int, data: memoryview) -> None:
        """Write a part of it there, and keep nothing of `data`; in any thread."""

    def filled(self) -> None:
        """The file is whole, and nobody writes to it any more."""


class ModelSource(Protocol):
    """A model's files, in the clear only where they are written to."""

    @property
    def files(self) -> Sequence[tuple[str, int]]:
        """Each file's relative path, and its size in bytes."""

    def open_into(self, targets: Iterator[FileTarget]) -> None:
        """Take a target for each file in their order, write it whole, and say so, in that order too; runs in a thread.

        The next target may be a while in coming, and only a few should be held at a time.

        Raises:
            CloisterError: it cannot be opened. What was written to targets that are not filled is taken away.
        """


def fitting(model: ModelSource, model_bytes: int) -> Sequence[tuple[str, int]]:
    """The model's files, if a place of `model_bytes` takes them and their paths stay in it.

    Raises:
        SandboxUnavailable: they do not.
    """
    files = tuple(model.files)
    paths = [path for path, _ in files]
    if len(files) > MAXIMUM_FILES or len(set(paths)) != len(files) or not all(map(_stays_inside, paths)):
        raise SandboxUnavailable(
            f"the model has no more than {MAXIMUM_FILES} files, each with a path of its own below it"
        )
    if (needed := room_for(files)) > model_bytes:
        raise SandboxUnavailable(
            f"the model needs {needed} bytes, and its place in the sandbox has {model_bytes}: plan with"
            " Sizes.holding(files), and have the contract name that profile"
        )
    return files


def _stays_inside(path: str) -> bool:
    parts = path.split("/")
    plain = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
    return plain and not PurePosixPath(path).is_absolute() and len(path.encode(errors="replace")) <= _LONGEST_PATH


async def fill(
    channel: socket.socket, model: ModelSource, files: Sequence[tuple[str, int]], *, streamed: bool = False
) -> None:
    """Have `model` written into the files that the second stage hands over on `channel`; the event loop goes on.

    Where it cannot hand them over, the model is opened into memory of ours and `streamed`: what is sent is let go.

    Raises:
        CloisterError: as the model's `open_into`.
        ConnectionError, TimeoutError: the other side ended, or did nothing; it says why in its report.
    """
    filling = asyncio.get_running_loop().run_in_executor(
        None, _fill, channel, model, files, _Sent if streamed else _Lent
    )
    try:
        await asyncio.shield(filling)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            channel.shutdown(socket.SHUT_RDWR)  # what waits for the second stage waits no longer
        await asyncio.wait([filling])  # it writes to memory that is about to be unmapped
        raise


def _fill(
    channel: socket.socket, model: ModelSource, files: Sequence[tuple[str, int]], make: type[_Lent | _Sent]
) -> None:
    taken: list[_Lent | _Sent] = []

    def taking(size: int) -> FileTarget:
        taken.append(make(channel, size))
        return taken[-1]

    try:
        model.open_into(taking(size) for _, size in files)
        if len(taken) != len(files) or any(one.open for one in taken):
            raise SandboxUnavailable("whoever opened the model left some of its files out")
    finally:
        for one in taken:
            one.take_back()
    channel.sendall(FILLED)


@final
class _Lent:
    """A file of the engine's, as the second stage made it: all its memory is set aside, and counts as the engine's."""

    def __init__(self, channel: socket.socket, size: int) -> None:
        self._descriptor = _received(channel, size)
        self.open = True

    def write(self, at: int, data: memoryview) -> None:
        while data:
            done = os.pwrite(self._descriptor, data, at)
            at, data = at + done, data[done:]

    def filled(self) -> None:
        self.open = False
        os.close(self._descriptor)

    def take_back(self) -> None:
        """Leave nothing in it, if it is not filled: whoever still has it open sees nothing."""
        if self.open:
            os.ftruncate(self._descriptor, 0)
            self.filled()


@final
class _Sent:
    """Memory of ours, sent to the second stage when it is whole: a piece is here or there, hardly ever at both."""

    def __init__(self, channel: socket.socket, size: int) -> None:
        self._channel, self._size = channel, size
        self._memory = mmap.mmap(-1, max(size, 1))
        self.open = True

    def write(self, at: int, data: memoryview) -> None:
        self._memory[at : at + len(data)] = data

    def filled(self) -> None:
        self._channel.settimeout(_WAIT_SECONDS)
        for start in range(0, self._size, _PIECE):
            size = min(_PIECE, self._size - start)
            with memoryview(self._memory) as whole, whole[start : start + size] as piece:
                self._channel.sendall(piece)
            self._memory.madvise(mmap.MADV_REMOVE, start, size)
        self.take_back()

    def take_back(self) -> None:
        """Let go of the memory, whatever is in it."""
        self.open = False
        self._memory.close()


def _received(channel: socket.socket, size: int) -> int:
    """The next file's descriptor."""
    channel.settimeout(_WAIT_SECONDS + size / _ROOM_BYTES_A_SECOND)
    _, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_LEN(_DESCRIPTOR.size), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            (descriptor,) = _DESCRIPTOR.unpack(data)
            return int(descriptor)
    raise ConnectionResetError
