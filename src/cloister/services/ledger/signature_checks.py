"""Checks entries ahead of the sequencer, on all processors: the costliest part of an append, and nobody's turn waits.

In threads: a signature is verified outside the interpreter's lock, and is four fifths of a check (decision 0034).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from cloister.errors import CloisterError, Unavailable
from cloister.services.ledger.turns import MAXIMUM_WAITING_ENTRIES, SMALL

PROCESSORS = len(os.sched_getaffinity(0))
AT_ONCE = 32  # entries of a large append in one thread's turn: some milliseconds

Admit = Callable[[Sequence[bytes]], Sequence[object]]  # for each entry an error, or something else
Verdict = CloisterError | None  # why an entry may not be logged; None where it may


class SignatureChecks:
    """Threads, one for each processor."""

    def __init__(self, admit: Admit) -> None:
        """`admit` is `ledger.statements.open_statements`, or another rule of what may be logged."""
        self._admit = admit
        self._threads = ThreadPoolExecutor(PROCESSORS, thread_name_prefix="signatures")
        self._waiting = 0  # entries of large appends
        self._large = asyncio.Semaphore(PROCESSORS + 1)  # one more than there are threads: none waits for the loop

    async def check(self, entry: bytes) -> None:
        """Raise what is wrong with `entry`, if anything is."""
        (verdict,) = await self.check_all([entry])
        if verdict is not None:
            raise verdict

    async def check_all(self, entries: Sequence[bytes]) -> list[Verdict]:
        """The verdict on each. A few entries wait for no large append's.

        Raises:
            Unavailable: too many wait already.
        """
        loop = asyncio.get_running_loop()
        if len(entries) <= SMALL:
            return await loop.run_in_executor(self._threads, self._judge, entries)

        if self._waiting + len(entries) > MAXIMUM_WAITING_ENTRIES:
            raise Unavailable(f"{self._waiting} entries wait to be checked already")

        async def turn(start: int) -> list[Verdict]:
            async with self._large:
                return await loop.run_in_executor(self._threads, self._judge, entries[start : start + AT_ONCE])

        self._waiting += len(entries)
        try:
            parts = await asyncio.gather(*(turn(start) for start in range(0, len(entries), AT_ONCE)))
        finally:
            self._waiting -= len(entries)
        return [verdict for part in parts for verdict in part]

    def _judge(self, entries: Sequence[bytes]) -> list[Verdict]:
        return [found if isinstance(found, CloisterError) else None for found in self._admit(entries)]
