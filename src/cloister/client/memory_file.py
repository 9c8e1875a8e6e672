"""The client's memory as a file: read, examined against and replaced under one lock, durable before it counts.

A memory that is lost or set back silently would let an old or forked log pass; so a damaged one is refused by name,
and a person decides.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from cloister.client.durable import read_at_most, replace_file
from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.trust.memory import Memory, first_contact, parse_memory

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


MAXIMUM_MEMORY = 1024  # bytes


class MemoryRefused(CloisterError):
    """The memory file cannot be relied on; nothing was fetched or sent. The sentence says what to do."""

    exit_code = 3
    status = 502


class MemoryFile:
    """What one client remembers of the KMS that its trust policy pins."""

    def __init__(self, path: Path, *, genesis: bytes) -> None:
        """`genesis` is the digest of the constitution pinned, 32 bytes."""
        self.path = path
        self._genesis = genesis

    @contextlib.contextmanager
    def locked(self) -> Iterator[Memory]:
        """What is remembered; other processes wait with theirs until the context ends. `store` within it.

        Raises:
            MemoryRefused: damaged, of another KMS, or not readable.
        """
        with _lock(self.path.with_name(self.path.name + ".lock")):
            yield self._load()

    def store(self, memory: Memory) -> None:
        """Replace the file, whole or not at all; on disk when this returns.

        Raises:
            MemoryRefused: it cannot be written.
        """
        try:
            replace_file(self.path, canonical.encode(memory))
        except OSError as error:
            raise MemoryRefused(f"the client's memory {self.path} cannot be written: {error.strerror}") from error

    def _load(self) -> Memory:
        try:
            memory = parse_memory(read_at_most(self.path, MAXIMUM_MEMORY))
        except FileNotFoundError:
            return first_contact(self._genesis)
        except OSError as error:
            raise MemoryRefused(f"the client's memory {self.path} cannot be read: {error.strerror}") from error
        except (MalformedInput, TooLarge) as error:
            raise MemoryRefused(
                f"the client's memory {self.path} is damaged ({error}). What was seen of the log before is lost, and"
                " with it the proof that nothing was taken back. Restore the file; or, if you know why it is damaged,"
                " remove it, and the next bundle is examined as at first contact"
            ) from error
        if memory.genesis != self._genesis:
            raise MemoryRefused(
                f"the client's memory {self.path} is of the KMS {memory.genesis.hex()[:16]}…, the trust policy pins"
                f" {self._genesis.hex()[:16]}…. Give each KMS a memory file of its own"
            )
        return memory


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` among all processes of this machine."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise MemoryRefused(f"the client's memory cannot be locked: {path}: {error.strerror}") from error
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
