"""Tries a model in a process of its own: libraries that load one take its files as they are, and some break by them.

What such a file makes of the process that loads it ends with that process. Requests are forked from another, which has
loaded nothing of it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from cloister.engines import ended
from cloister.errors import MalformedInput

_PASSED, _UNUSABLE, _BROKEN = range(3)
_WHY = {_UNUSABLE: "its library does not load it: it is damaged, or of another kind than its files say"}


class FailsItsTest(MalformedInput):
    """It does not answer as its self-test says; `exit_status` is the one that says where."""

    def __init__(self, status: int) -> None:
        super().__init__("it does not answer as its self-test says")
        self.exit_status = status


def hold(passes: Callable[[], bool], failed: Callable[[], int] = lambda: ended.FAILED) -> None:
    """Fork, ask `passes` there, and where it does not, `failed` for the exit status; and wait for the end.

    Raises:
        FailsItsTest: it does not pass.
        MalformedInput: it could not be tried, or what it did ended the process.
    """
    process = os.fork()
    if process == 0:
        _end(passes, failed)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status == _PASSED:
        return
    if ended.words_of(status) is not None:
        raise FailsItsTest(status)
    if status < 0:
        name = signal.Signals(-status).name
        raise MalformedInput(f"it was loaded and tried in a process of its own, which {name} ended")
    raise MalformedInput(_WHY.get(status, "it was loaded and tried in a process of its own, which failed"))


def _end(passes: Callable[[], bool], failed: Callable[[], int]) -> None:
    status = _BROKEN
    try:
        status = _PASSED if passes() else failed()
    except MalformedInput:
        status = _UNUSABLE
    finally:
        os._exit(status)
