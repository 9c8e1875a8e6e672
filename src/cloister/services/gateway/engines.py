"""Who gets an engine next: at most so many requests wait, each no longer than its time, in the order they came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from cloister.errors import CloisterError, Unavailable
from cloister.services.gateway.engine_link import Asker, EngineLink

RETRY_AFTER_SECONDS = 5  # what a client that found no engine is told to wait


class Overloaded(Unavailable):
    """Every engine is at work, and as many wait as may, or this one has waited its time."""

    status: ClassVar[int] = 429


class Wants(Asker, Protocol):
    """A request that wants an engine."""

    def engine_ready(self, link: EngineLink) -> None:
        """An engine that is this request's alone until it is let go."""


class Supply(Protocol):
    """Where connections to engines come from."""

    def take(self) -> EngineLink | None:
        """A connection to an idle engine, if there is one now."""

    def wanted(self, supplied: Callable[[], None], failed: Callable[[CloisterError], None]) -> None:
        """Requests wait: call `supplied` when `take` may have one, `failed` where there cannot be one."""

    def give_back(self, link: EngineLink, *, reusable: bool) -> None:
        """An exchange has ended."""

    def missing(self) -> Sequence[str]:
        """What is lacking before engines can serve, in words; empty when they are ready."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many requests may wait for an engine, how long each, and how long an engine may take."""

    waiting: int = 256
    waiting_seconds: float = 30
    engine_seconds: float = 600


class Engines:
    """Hands engines out, and takes them back."""

    def __init__(self, supply: Supply, limits: QueueLimits, *, others_waiting: Callable[[], int] = lambda: 0) -> None:
        """`others_waiting` is how many wait in this node's other workers."""
        self._supply = supply
        self._limits = limits
        self._others_waiting = others_waiting
        self._waiting: dict[Wants, float] = {}  # until when, the first that came first
        self._busy: set[EngineLink] = set()

    @property
    def waiting(self) -> int:
        """How many requests wait here."""
        return len(self._waiting)

    def missing(self) -> Sequence[str]:
        """What is lacking before engines can serve, in words."""
        return self._supply.missing()

    def take(self, wants: Wants) -> None:
        """Call `wants.engine_ready`, now or when its turn has come, or `wants.engine_failed`."""
        link = None if self._waiting else self._supply.take()
        if link is not None:
            self._hand(link, wants)
        elif len(self._waiting) + self._others_waiting() >= self._limits.waiting:
            wants.engine_failed(Overloaded("every engine is at work, and as many requests wait as may"))
        else:
            self._waiting[wants] = asyncio.get_running_loop().time() + self._limits.waiting_seconds
            self._supply.wanted(self.supplied, self._refuse_first)

    def forget(self, wants: Wants) -> None:
        """It waits no longer, if it did."""
        self._waiting.pop(wants, None)

    def give_back(self, link: EngineLink) -> None:
        """End the exchange on `link`."""
        self._busy.discard(link)
        self._supply.give_back(link, reusable=link.let_go())
        if self._waiting:
            self.supplied()

    def supplied(self) -> None:
        """There may be engines for those who wait."""
        while self._waiting and (link := self._supply.take()) is not None:
            wants = next(iter(self._waiting))
            del self._waiting[wants]
            self._hand(link, wants)
        if self._waiting:
            self._supply.wanted(self.supplied, self._refuse_first)

    def sweep(self, now: float) -> None:
        """End what has waited or worked too long."""
        for wants, until in list(self._waiting.items()):
            if now < until:
                break  # those behind it came later
            del self._waiting[wants]
            wants.engine_failed(Overloaded(f"no engine came free within {self._limits.waiting_seconds:g} s"))
        for link in [link for link in self._busy if now >= link.deadline]:
            link.expire()

    def deadline(self) -> float:
        """Until when an engine that is asked now may take."""
        return asyncio.get_running_loop().time() + self._limits.engine_seconds

    def _hand(self, link: EngineLink, wants: Wants) -> None:
        self._busy.add(link)
        wants.engine_ready(link)

    def _refuse_first(self, error: CloisterError) -> None:
        wants = next(iter(self._waiting), None)
        if wants is not None:
            del self._waiting[wants]
            wants.engine_failed(error)
