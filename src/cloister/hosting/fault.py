"""How a fault of ours is told of in a log: by its type and place, since its message may quote what a user sent."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import TracebackType
from typing import Any

_log = logging.getLogger(__name__)


def place_of(error: BaseException) -> str:
    """`ValueError at module:line`, of the innermost frame; never the message."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "?" if trace is None else f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
    return f"{type(error).__name__} at {where}"


def tell_of_fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A loop's exception handler: asyncio's own would tell of the exception in its words."""
    error = context.get("exception")
    _log.error("a callback or task failed by a fault of ours: %s", "?" if error is None else place_of(error))


def tell_of_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """`sys.unraisablehook`: what a finaliser raises goes nowhere else, and Python's own hook prints its words."""
    error = unraisable.exc_value
    _log.error("a finaliser failed by a fault of ours: %s", "?" if error is None else place_of(error))
