"""What a deployment API remembers, in SQLite: the revisions that it took, and the processes that it started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.node_manifest import MAXIMUM_MANIFEST, Node
from cloister.storage.database_file import CorruptStore
from cloister.storage.transaction import Query, Row, Steps, Transactions

Standing = Literal["missed", "rolling", "in force", "failed", "past"]


@dataclass(frozen=True, slots=True)
class KeptRevision:
    """A revision that was taken, as it was signed, and what became of it."""

    number: int
    signed: bytes
    standing: Standing
    at: int  # since 1970, when it came to stand so
    said: str  # of one that failed: why


@dataclass(frozen=True, slots=True)
class KeptProcess:
    """A process that was started, or was about to be: then it has no id yet."""

    node: Node  # as it was when the process was started
    port: int
    revision: int  # that it was started for
    restarts: int
    process: tuple[int, int, str] | None  # process id, start, boot: see `hosting.processes`

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.node.name}/{self.port}"


class DeploymentStore:
    """Revisions by number, processes by name. What has returned is on disk."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def revisions(self) -> tuple[KeptRevision, ...]:
        """All that were taken, in their order."""
        return await self._database.read(_revisions)

    async def take(self, signed: Sequence[tuple[int, bytes]], *, at: int) -> None:
        """Keep revisions, numbers and bytes; the last is to be rolled out, the others were missed."""
        await self._database.write(lambda: _take(signed, at))

    async def in_force(self, number: int, *, at: int) -> None:
        """The revision is in force now, and the one that was so is past."""
        await self._database.write(lambda: _in_force(number, at))

    async def failed(self, number: int, said: str, *, at: int) -> None:
        """The revision did not come up, for the reason that is said."""
        await self._database.write(lambda: _stands(number, "failed", at, said))

    async def processes(self) -> tuple[KeptProcess, ...]:
        """All that run, or did.

        Raises:
            CorruptStore: what is kept of one cannot be read.
        """
        return await self._database.read(_processes)

    async def keep(self, kept: KeptProcess) -> None:
        """Keep what is known of a process."""
        await self._database.write(lambda: _keep(kept))

    async def forget(self, name: str) -> None:
        """It has ended for good."""
        await self._database.write(lambda: _forget(name))


def _revisions() -> Steps[tuple[KeptRevision, ...]]:
    rows = yield Query("SELECT number, signed, standing, at, said FROM revisions ORDER BY number")
    return tuple(KeptRevision(*row) for row in rows)


def _take(signed: Sequence[tuple[int, bytes]], at: int) -> Steps[None]:
    for place, (number, data) in enumerate(signed, start=1):
        standing = "rolling" if place == len(signed) else "missed"
        yield Query("INSERT INTO revisions VALUES (?, ?, ?, ?, '')", (number, data, standing, at))


def _in_force(number: int, at: int) -> Steps[None]:
    yield Query("UPDATE revisions SET standing = 'past', at = ? WHERE standing = 'in force'", (at,))
    yield from _stands(number, "in force", at, "")


def _stands(number: int, standing: Standing, at: int, said: str) -> Steps[None]:
    yield Query("UPDATE revisions SET standing = ?, at = ?, said = ? WHERE number = ?", (standing, at, said, number))


def _processes() -> Steps[tuple[KeptProcess, ...]]:
    rows = yield Query("SELECT name, node, port, revision, pid, started, boot, restarts FROM processes ORDER BY name")
    return tuple(map(_process, rows))


def _process(row: Row) -> KeptProcess:
    name, node, port, revision, pid, started, boot, restarts = row
    try:
        read = canonical.decode(node, Node, limit=MAXIMUM_MANIFEST)
    except (MalformedInput, TooLarge) as error:
        raise CorruptStore(f"what is kept of the process {name} cannot be read: {error}") from error
    process = None if pid is None else (cast("int", pid), cast("int", started), cast("str", boot))
    return KeptProcess(read, port, revision, restarts, process)


def _keep(kept: KeptProcess) -> Steps[None]:
    process = kept.process or (None, None, None)
    yield Query(
        "INSERT INTO processes VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET node = excluded.node, port = excluded.port,"
        " revision = excluded.revision, pid = excluded.pid,"
        " started = excluded.started, boot = excluded.boot, restarts = excluded.restarts",
        (kept.name, canonical.encode(kept.node), kept.port, kept.revision, *process, kept.restarts),
    )


def _forget(name: str) -> Steps[None]:
    yield Query("DELETE FROM processes WHERE name = ?", (name,))
