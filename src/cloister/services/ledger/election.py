"""Which of several front ends on one database numbers entries: each stands when nobody's term holds, until one leads.

Nothing depends on who believes to lead: the database refuses whoever's term is over, and the witnesses refuse whoever
has another database. Believing wrongly costs a refusal, and waiting costs a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

import structlog

from cloister.errors import CloisterError
from cloister.hosting.fault import place_of
from cloister.storage.leadership import Leader
from cloister.storage.transaction import Deposed

TICKS = 3  # in the time that a term lasts by itself


class Terms(Protocol):
    """What is asked of the database; see `storage.leadership`."""

    @property
    def url(self) -> str:
        """Where this process is reached."""

    async def leader(self) -> Leader:
        """Who leads."""

    async def stand(self) -> bool:
        """Whether this process leads from now on."""

    async def renew(self) -> None:
        """Make the term last; `Deposed` where it is over."""

    async def resign(self) -> None:
        """Let another lead at once."""


class Candidate(Protocol):
    """What an election does with its process."""

    async def take_over(self) -> None:
        """Read the log to its end and begin to number entries."""

    async def step_down(self) -> None:
        """Number no more entries."""

    async def follow(self) -> None:
        """Read what another has logged."""


class Election:
    """One process's part in it, from `start` to `stop`."""

    def __init__(self, terms: Terms, candidate: Candidate, *, seconds: float) -> None:
        """A term lasts `seconds` by itself."""
        self._terms = terms
        self._candidate = candidate
        self._pause = seconds / TICKS
        self._ticking: asyncio.Task[None] | None = None
        self.leads = False
        self.trouble = ""  # why there is nobody to lead, or nobody known

    async def start(self) -> None:
        """Stand once, and go on in the background.

        Raises:
            CorruptStore: what is stored is not what was cosigned.
        """
        await self.take_turn()
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """End, and let another lead at once."""
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        if self.leads:
            await self._step_down()
            with contextlib.suppress(CloisterError):  # then the others wait until the term is over
                await self._terms.resign()

    async def take_turn(self) -> None:
        """Keep the term, or stand, or follow.

        Raises:
            CloisterError: the database failed, or what it holds is damaged.
        """
        if self.leads:
            try:
                await self._terms.renew()
            except Deposed:
                await self._step_down()
        elif await self._terms.stand():
            await self._take_over()
        else:
            await self._candidate.follow()
        self.trouble = ""

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self.take_turn()
            except CloisterError as error:
                self._say(str(error))
            except Exception as fault:  # noqa: BLE001 - an outermost loop of the service: one fault must not end it
                self._say(f"a fault of ours at {place_of(fault)}")

    async def _take_over(self) -> None:
        structlog.get_logger().info("this front end leads now")
        try:
            await self._candidate.take_over()
        except BaseException:
            with contextlib.suppress(CloisterError):
                await self._terms.resign()
            raise
        self.leads = True

    async def _step_down(self) -> None:
        structlog.get_logger().warning("this front end leads no more")
        self.leads = False
        await self._candidate.step_down()

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            structlog.get_logger().warning("nobody is known to lead", reason=trouble)
        self.trouble = trouble
