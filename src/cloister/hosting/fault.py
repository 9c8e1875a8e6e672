"""How a fault of ours is told of in a log: by its type and place, since its message may quote what a user sent."""

from __future__ import annotations

from types import TracebackType


def place_of(error: BaseException) -> str:
    """`ValueError at module:line`, of the innermost frame; never the message."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "?" if trace is None else f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
    return f"{type(error).__name__} at {where}"
