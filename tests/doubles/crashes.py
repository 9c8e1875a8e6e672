"""Machines whose lives end at a chosen durable step, over real SQLite files: by `kill -9`, or with the power.

A durable step is a moment after which something outside memory may be another: a commit, its synchronisation, a blob's
rename, a message that leaves. A kill keeps what the kernel was given; a power cut keeps what was synchronised, and of
the rest as much as the test says: so many blocks of a write-ahead log, and of its copy so many as the log lost. A dead
machine's objects are abandoned as they are: whatever still runs of them cannot touch a thing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cloister.errors import Unavailable
from cloister.storage.blobs import BlobStore
from cloister.storage.database import Database
from cloister.storage.database_file import open_file
from cloister.storage.log_copy import LogCopy

T = TypeVar("T")

NEVER, ALWAYS = False, True  # whether what is committed is synchronised before it is answered
BLOCK = 512  # bytes that a disk writes whole or not at all
LOG_HEADER = 32  # bytes of SQLite's write-ahead log

# The doubles say what a disk keeps, not the disk: memory is as good, and faster.
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


class Crash(BaseException):
    """The process is gone: nothing catches it, nothing runs after it."""


@dataclass(frozen=True)
class Ending:
    """How a life ends: at its durable step number `step`, and with how much of what was not synchronised."""

    step: int
    power: bool = False
    kept: float = 0.0  # of the bytes that a power cut may take


class Machine:
    """One machine and its disk. `start` begins a life, a crash ends it, and the disk is what the crash left."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.taken: list[str] = []  # the durable steps of all lives
        self.crashes = 0
        self.alive = False
        self.ended: asyncio.Future[None]
        self._root = folder
        self._lives = 0
        self._ending: Ending | None = None
        self._synced: dict[str, bytes] = {}  # what each log and copy is after a power cut that takes all it can
        self._opened: list[sqlite3.Connection | LogCopy] = []
        self._serving: set[asyncio.Task[Any]] = set()
        self.folder.mkdir(parents=True)

    @property
    def folder(self) -> Path:
        """The disk of this life."""
        return self._root / self.name / str(self._lives)

    def begin(self) -> None:
        """A new life over the disk as it is."""
        self.alive = True
        self.ended = asyncio.get_running_loop().create_future()

    def arm(self, ending: Ending | None) -> None:
        """Have the life end `ending.step` steps from now; None lets it live."""
        self._ending = ending
        self._left = 0 if ending is None else ending.step

    def step(self, what: str) -> None:
        """A durable step is about to be taken, or was."""
        if not self.alive:
            raise Crash(f"{self.name} is dead")
        self.taken.append(what)
        if self._ending is None:
            return
        if self._left == 0:
            self.crash()
            raise Crash(f"{self.name}: {what}")
        self._left -= 1

    def crash(self) -> None:
        """End this life here."""
        ending = self._ending or Ending(0)
        self.alive, self.crashes, self._ending = False, self.crashes + 1, None
        before = self.folder
        self._lives += 1
        shutil.copytree(before, self.folder)
        if ending.power:
            self._lose(ending.kept)
        self._forget(before)
        if not self.ended.done():
            self.ended.set_result(None)

    def stop(self) -> None:
        """The end of a life in good order, after its owner closed what it had open."""
        self.alive = False
        self._opened.clear()
        self._synced.clear()
        self.ended.set_result(None)

    def replace_disk(self, image: Path) -> None:
        """The disk is exchanged for `image`, a folder kept earlier, and that synchronised; no life may be on it."""
        assert not self.alive
        shutil.rmtree(self.folder)
        shutil.copytree(image, self.folder)
        for path in self.folder.glob("*.sqlite"):
            self.synchronised(path)

    async def serve(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` answers on this machine; `Unavailable` where it is dead, or dies before the answer left."""
        if not self.alive:
            raise Unavailable(f"{self.name} is down")
        ended = self.ended

        async def working() -> T:
            value = await work()
            self.step(f"before the answer to {what} leaves")
            return value

        task = asyncio.create_task(working())
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        both: set[asyncio.Future[Any]] = {task, ended}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            task.cancel()
            with contextlib.suppress(BaseException):
                await task
            raise Unavailable(f"{self.name} died")
        return task.result()

    async def ask(self, peer: Machine, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """What `peer` answers to this machine."""
        self.step(f"before {what} is asked of {peer.name}")
        answer = await peer.serve(what, work)
        self.step(f"after {what} was answered by {peer.name}")
        return answer

    async def database(self, name: str, *, synchronous: bool = ALWAYS, kind: type[Database] = Database) -> Database:
        """The production database over a connection and a log whose commits and synchronisations are steps."""
        path = self.folder / f"{name}.sqlite"
        log = _Log.of(path, reserve=0)
        log.of_machine(self, path, synchronous=synchronous)
        log.mend()
        real = open_file(path, name)
        log.begin()
        self._opened += [real, log]
        self.synchronised(path)  # it is in the file
        return kind(_Connection(real, self, path, synchronous=synchronous), _AtOnce(), path, log)  # type: ignore[arg-type]

    def blobs(self) -> SteppedBlobs:
        """The production blob store, each of whose writes is a step."""
        return SteppedBlobs(self, self.folder / "blobs")

    def synchronised(self, path: Path) -> None:
        """What stands in the write-ahead log of `path` and in its copy now, no power cut takes."""
        for log in path.parent.glob(f"{path.name}-wal*"):
            self._synced[log.name] = log.read_bytes()

    def begun(self, path: Path) -> None:
        """SQLite synchronises a log's header before it writes the first frame behind it."""
        log = path.with_name(f"{path.name}-wal")
        with log.open("rb") as file:
            self._synced[log.name] = file.read(LOG_HEADER) + self._synced.get(log.name, b"")[LOG_HEADER:]

    def _lose(self, kept: float) -> None:
        for log in self.folder.glob("*-wal*"):
            content = log.read_bytes()
            share = 1 - kept if log.name.endswith("-copy") else kept
            log.write_bytes(torn(self._synced.get(log.name, content), content, share))

    def _forget(self, disk: Path) -> None:
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        shutil.rmtree(disk)


class _AtOnce(concurrent.futures.Executor):
    """Runs what it is given where it is given: the same order in every run."""

    def submit(self, fn, /, *args, **kwargs):
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - a crash goes to who waits, like everything else
            future.set_exception(error)
        return future


class _Log(LogCopy):
    """A log with a step before it is synchronised with its copy, and after it."""

    _machine: Machine
    _path: Path
    _life: asyncio.Future[None]
    _synchronous: bool

    def of_machine(self, machine: Machine, path: Path, *, synchronous: bool) -> None:
        self._machine, self._path, self._life, self._synchronous = machine, path, machine.ended, synchronous

    def empty(self) -> None:
        super().empty()
        self._machine.synchronised(self._path)

    def synchronise(self) -> None:
        if self._life.done():
            raise Crash(f"{self._machine.name} is dead")
        self._machine.step(f"before the log of {self._path.name} is synchronised")
        if self._synchronous:
            self._machine.synchronised(self._path)
        self._machine.step(f"after the log of {self._path.name} was synchronised")


class _Connection:
    """A connection with a step before a commit, and after it: written, not yet synchronised."""

    def __init__(self, real: sqlite3.Connection, machine: Machine, path: Path, *, synchronous: bool) -> None:
        self._real = real
        self._machine = machine
        self._path = path
        self._life = machine.ended
        self._changes = real.total_changes
        self._synchronous = synchronous

    @property
    def in_transaction(self) -> bool:
        return not self._life.done() and self._real.in_transaction

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        if self._life.done():
            raise Crash(f"{self._machine.name} is dead")
        if "wal_checkpoint" in sql:
            return self._move_log(sql)
        if sql != "COMMIT" or self._real.total_changes == self._changes:
            return self._real.execute(sql, parameters)
        what = f"the commit in {self._path.name}"
        self._machine.step(f"before {what}")
        cursor = self._real.execute(sql)
        self._changes = self._real.total_changes
        self._machine.begun(self._path)
        self._machine.step(f"after {what}")
        return cursor

    def executemany(self, sql: str, rows: Any) -> Any:
        if self._life.done():
            raise Crash(f"{self._machine.name} is dead")
        return self._real.executemany(sql, rows)

    def _move_log(self, sql: str) -> Any:
        """SQLite synchronises here, too, unless it was told never to; then the file is as if nothing had been moved."""
        if not self._synchronous:
            return self._real.execute("SELECT 0, 0, 0")
        cursor = self._real.execute(sql)
        self._machine.synchronised(self._path)
        return cursor

    def close(self) -> None:
        if not self._life.done():
            self._real.close()


class SteppedBlobs:
    """A blob is whole or not there; what a crash left half-written is no blob."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine = machine
        self._folder = folder
        self._blobs = BlobStore(folder, maximum=2**24, capacity=2**30)

    def put(self, data: bytes) -> bytes:
        partial = self._folder / ".partial-crash"
        partial.write_bytes(data[: len(data) // 2])
        self._machine.step("within the writing of a blob")
        partial.unlink()
        digest = self._blobs.put(data)
        self._machine.step("after a blob was stored")
        return digest

    def get(self, digest: bytes) -> bytes | None:
        return self._blobs.get(digest)


def torn(synced: bytes, written: bytes, kept: float) -> bytes:
    """The file after a power cut, with a share of the blocks that were written since it was synchronised."""
    length = max(len(synced), len(written))
    blocks = [slice(at, at + BLOCK) for at in range(0, length, BLOCK)]
    changed = [block for block in blocks if synced[block] != written[block]]
    found = bytearray(synced)
    for block in changed[: round(len(changed) * kept)]:
        found[block] = written[block]
    return bytes(found)
