"""Who is next with the sequencer: what waits is taken turn by turn, small appends before the runs of large ones.

A turn is as large as what waits, up to a bound in entries and bytes: with little to do an append has a turn to itself,
with much it shares one, and the costs of a turn (two transactions, a checkpoint, the witnesses) are shared by more the
more there is to do. A large append is cut into runs, and each turn takes one of them at least; so whoever sends a
great many entries is served all the time and is in nobody's way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cloister.errors import Unavailable

SMALL = 16  # entries: an append of so many goes before the larger ones
RUN_ENTRIES, RUN_BYTES = 256, 512 * 1024  # of a larger append, at once
TURN_ENTRIES, TURN_BYTES = 1024, 4 * 1024 * 1024
MAXIMUM_WAITING = 1024  # small requests; more are told to come back
MAXIMUM_WAITING_ENTRIES = 32_768  # of larger appends


@dataclass(slots=True, eq=False)
class Waiting:
    """Entries that are stored together; none, where the checkpoint is to be cosigned afresh."""

    entries: Sequence[bytes]
    done: asyncio.Future[None]
    indices: Sequence[int] = field(default=())
    size: int = field(init=False)  # bytes

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.entries))

    def fail(self, error: Exception) -> None:
        """Tell who waits, if anyone still does."""
        if not self.done.done():
            self.done.set_exception(error)

    def settle(self) -> None:
        """It is logged."""
        if not self.done.done():
            self.done.set_result(None)


class Turns:
    """What waits for the sequencer."""

    def __init__(self) -> None:
        self._small: deque[Waiting] = deque()
        self._runs: deque[Waiting] = deque()
        self._arrived = asyncio.Event()

    def enter(self, entries: Sequence[bytes]) -> list[Waiting]:
        """Have `entries` wait, all of them or none; in one run or several.

        Raises:
            Unavailable: too much waits already.
        """
        loop = asyncio.get_running_loop()
        small = len(entries) <= SMALL
        if small and len(self._small) >= MAXIMUM_WAITING:
            raise Unavailable(f"{MAXIMUM_WAITING} requests wait already")
        queued = sum(len(waiting.entries) for waiting in self._runs)
        if not small and queued + len(entries) > MAXIMUM_WAITING_ENTRIES:
            raise Unavailable(f"{queued} entries of large appends wait already")
        parts = [entries] if small else _runs(entries)
        entered = [Waiting(part, loop.create_future()) for part in parts]
        (self._small if small else self._runs).extend(entered)
        self._arrived.set()
        return entered

    async def take(self) -> list[Waiting]:
        """The next turn, once anything waits. Whoever has left meanwhile is left out."""
        while True:
            await self._arrived.wait()
            turn = [*_taken(self._small, TURN_ENTRIES, TURN_BYTES)]
            entries, size = sum(len(one.entries) for one in turn), sum(one.size for one in turn)
            turn += _taken(self._runs, max(TURN_ENTRIES - entries, 1), max(TURN_BYTES - size, 1))
            if not self._small and not self._runs:
                self._arrived.clear()
            if turn:
                return turn

    def drain(self) -> list[Waiting]:
        """All that waits."""
        waiting = [*self._small, *self._runs]
        self._small.clear()
        self._runs.clear()
        return waiting


def _taken(queue: deque[Waiting], entries: int, size: int) -> Iterator[Waiting]:
    """From the queue's head, while `entries` and `size` bytes are not used up: one at least."""
    while queue and entries > 0 and size > 0:
        waiting = queue.popleft()
        if waiting.done.done():
            continue
        yield waiting
        entries -= max(len(waiting.entries), 1)
        size -= waiting.size


def _runs(entries: Sequence[bytes]) -> list[Sequence[bytes]]:
    runs: list[Sequence[bytes]] = []
    start = size = 0
    for at, entry in enumerate(entries):
        if at > start and (at - start == RUN_ENTRIES or size + len(entry) > RUN_BYTES):
            runs.append(entries[start:at])
            start, size = at, 0
        size += len(entry)
    return [*runs, entries[start:]]
