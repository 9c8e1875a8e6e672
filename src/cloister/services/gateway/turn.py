"""What became whole within one turn of the loop, taken on together: each step of all of them, then the next.

The code of a step, X25519 or a parser, then lies in the processor's caches for all but the first, and a request costs a
fifth less under load (docs/decisions/0017). One that is alone waits for nothing but the end of the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar


class Stepped(Protocol):
    """What is taken on."""

    over: bool  # it ended meanwhile: nobody waits for it any more

    def failed(self) -> None:
        """A step failed by a fault of ours: end, and answer nothing."""


Taken = TypeVar("Taken", bound=Stepped)


class Turn(Generic[Taken]):
    """Those that wait for the end of this turn."""

    def __init__(self, steps: Sequence[Callable[[Taken], bool]]) -> None:
        """A step says whether the next one is to be taken."""
        self._steps = steps
        self._waiting: list[Taken] = []

    def take(self, one: Taken) -> None:
        """Take all steps with it at the end of this turn."""
        self._waiting.append(one)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        going, self._waiting = self._waiting, []
        for step in self._steps:
            on = []
            for one in going:
                try:
                    if not one.over and step(one):
                        on.append(one)
                except Exception as error:  # noqa: BLE001 - outermost for each of them, as the loop is for callbacks
                    asyncio.get_running_loop().call_exception_handler({"message": "a step failed", "exception": error})
                    one.failed()
            going = on
