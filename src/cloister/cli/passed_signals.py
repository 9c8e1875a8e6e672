"""Signals to this process, passed on to the program that it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

PASSED: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
_FROM_KEYS: Final = frozenset({"SIGINT", "SIGQUIT"})  # a terminal sends them to its whole foreground group


class PassedSignals:
    """Within it, signals are kept for the program until it is named, and then passed on. In the main thread only."""

    def __init__(self) -> None:
        self._early: list[int] = []
        self._process: asyncio.subprocess.Process | None = None
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def receive(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._pass, number)

        self._before = {number: signal.signal(number, receive) for number in PASSED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def go_to(self, process: asyncio.subprocess.Process) -> None:
        """Pass on what came so far, and all that comes."""
        self._process = process
        for number in self._early:
            self._pass(number)

    def _pass(self, number: int) -> None:
        if self._process is None:
            self._early.append(number)
        elif not (signal.Signals(number).name in _FROM_KEYS and _is_in_foreground()):
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _is_in_foreground() -> bool:
    """Whether a key's signal reaches this process and the program alike: passed on, it would come twice."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
