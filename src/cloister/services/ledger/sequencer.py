"""The one place where entries get their numbers: persist, sign, have a quorum cosign, answer, persist that.

Two stages work at a time. The first stores turn after turn, each one transaction; the second has all that is stored
cosigned, under one checkpoint, and answers. So while witnesses are asked about one turn the next goes to the disk, and
the slower stage decides how much shares its costs. Nothing is signed that is not on disk, nothing is answered that no
quorum cosigned. An entry whose checkpoint no quorum cosigned stays stored and unanswered; the next checkpoint includes
it, and the same bytes sent again get the index they have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog

from cloister.crypto.signing import SigningKey
from cloister.errors import CloisterError, Unavailable
from cloister.formats.ledger_messages import Appended
from cloister.hosting.fault import place_of
from cloister.services.ledger.turns import Turns, Waiting
from cloister.services.ledger.witnessed_log import Cosigners, Store, WitnessedLog
from cloister.storage.ledger_store import StoredCheckpoint

MAXIMUM_UNWITNESSED = 8192  # stored entries that no quorum cosigned


@dataclass(frozen=True, slots=True)
class Placed:
    """Where entries stand, and each one's path under one checkpoint that a quorum cosigned."""

    checkpoint: StoredCheckpoint
    indices: tuple[int, ...]
    paths: tuple[tuple[bytes, ...], ...]


class Sequencer(WitnessedLog):
    """One log, from `start` to `stop`. What it shows is what a quorum cosigned, never more."""

    def __init__(
        self,
        origin: str,
        key: SigningKey,
        store: Store,
        cosigners: Cosigners,
        *,
        maximum_unwitnessed: int = MAXIMUM_UNWITNESSED,
    ) -> None:
        """Beyond `maximum_unwitnessed` entries none is stored before the witnesses are back."""
        super().__init__(origin, key, store, cosigners)
        self._maximum_unwitnessed = maximum_unwitnessed
        self._turns = Turns()
        self._stored: list[Waiting] = []  # on disk, to be cosigned
        self._some_stored = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the log back and begin to serve.

        Raises:
            CorruptStore: what is stored is not what was cosigned; nothing is served.
        """
        await self._recover()
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what waits is told to come back."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        with contextlib.suppress(CloisterError):  # it was told of
            await self._stored_last()
        _fail((*self._turns.drain(), *self._stored), Unavailable("the ledger is stopping"))
        self._stored = []

    async def append(self, entry: bytes) -> Appended:
        """Number and store `entry`; returns when a quorum has cosigned a checkpoint that includes it.

        Raises:
            Unavailable: the disk or the witnesses failed, or too many wait. Send the same bytes again.
        """
        placed = await self.append_all([entry])
        return Appended(index=placed.indices[0], checkpoint=placed.checkpoint.note, path=placed.paths[0])

    async def append_all(self, entries: Sequence[bytes]) -> Placed:
        """As `append`, for one or more entries; whoever sends many lets others' few go first.

        Raises:
            Unavailable: as `append`. Some may be logged; those that are sent again keep their index.
        """
        indices = await self._wait(entries)
        return Placed(self.cosigned, indices, self.inclusions(indices))

    async def renew(self) -> bytes:
        """The latest checkpoint with cosignatures made after this call began."""
        await self._wait([])
        return self.cosigned.note

    async def _wait(self, entries: Sequence[bytes]) -> tuple[int, ...]:
        """The indices of `entries`, once they are under a cosigned checkpoint."""
        if self._loop is None or self._loop.done():
            raise Unavailable("the ledger is not running")
        runs = self._turns.enter(entries)
        try:
            await asyncio.gather(*(run.done for run in runs))
        finally:
            for run in runs:  # the caller leaves, or is told to come back: what is not stored yet need not be
                run.done.cancel()
        return tuple(index for run in runs for index in run.indices)

    async def _run(self) -> None:
        stages = [asyncio.create_task(self._store_turns()), asyncio.create_task(self._publish_turns())]
        try:
            ended, _ = await asyncio.wait(stages, return_when=asyncio.FIRST_COMPLETED)
            for stage in ended:
                stage.result()
        finally:
            for stage in stages:
                stage.cancel()
            await asyncio.gather(*stages, return_exceptions=True)

    async def _store_turns(self) -> None:
        while True:
            turn = await self._turns.take()
            if await self._done(turn, self._store_turn(turn)):
                self._stored += turn
                self._some_stored.set()

    async def _publish_turns(self) -> None:
        while True:
            await self._some_stored.wait()
            self._some_stored.clear()
            turns, self._stored = self._stored, []
            await self._done(turns, self._answer(turns))

    async def _done(self, turn: Sequence[Waiting], work: Awaitable[None]) -> bool:
        """Whether `work` came to its end; where it did not, all in `turn` are told to come back."""
        error: CloisterError
        try:
            await work
        except CloisterError as failure:
            structlog.get_logger().warning("a turn was not cosigned", requests=len(turn), reason=str(failure))
            error = failure
        except asyncio.CancelledError:
            _fail(turn, Unavailable("the ledger is stopping"))
            raise
        except Exception as fault:  # noqa: BLE001 - the service's outermost loop: one fault must not end it
            structlog.get_logger().error("a turn failed by a fault of ours", fault=place_of(fault))
            self._certain = False
            error = Unavailable("a fault of the ledger; it was logged")
        else:
            return True
        self._trouble = str(error)
        _fail(turn, error)
        return False

    async def _store_turn(self, turn: Sequence[Waiting]) -> None:
        await self._make_certain()
        while self._unwitnessed >= self._maximum_unwitnessed:
            await self._publish(needed=self._tree.size - self._maximum_unwitnessed + 1)
        entries = [entry for waiting in turn for entry in waiting.entries]
        if entries:
            indices = iter(await self._persist(entries))
            for waiting in turn:
                waiting.indices = [*islice(indices, len(waiting.entries))]

    async def _answer(self, turns: Sequence[Waiting]) -> None:
        for waiting in turns:
            if waiting.entries and max(waiting.indices) < self._size and not self._hidden:  # before: needs no witness
                waiting.settle()
        if not all(waiting.done.done() for waiting in turns):
            await self._publish()
        for waiting in turns:
            waiting.settle()


def _fail(turn: Sequence[Waiting], error: CloisterError) -> None:
    for waiting in turn:
        waiting.fail(error)
