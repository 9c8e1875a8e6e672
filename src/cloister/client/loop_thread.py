"""An event loop in a thread of its own: sessions are asynchronous, many programs are not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from cloister.errors import UsageError
from cloister.hosting.fault import tell_of_fault

T = TypeVar("T")
END_SECONDS = 5.0  # that ending waits for what was cancelled


class LoopThread:
    """Runs coroutines for other threads, any number at a time, until it is closed.

    Its thread is a daemon: a program that forgets to close what it opened shall end all the same.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(tell_of_fault)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="cloister", daemon=True)
        self._thread.start()

    @property
    def lives(self) -> bool:
        """Whether it takes coroutines: it is not closed, and this process is the one that it was made in."""
        return self._thread.is_alive() and not self.left_behind

    @property
    def left_behind(self) -> bool:
        """Whether this process is a fork of the one it was made in: a fork takes no threads along."""
        return self._process != os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; where the caller is interrupted while it waits, the coroutine is cancelled.

        Raises:
            UsageError: it is closed, or left behind.
        """
        if not self.lives:
            coroutine.close()
            raise UsageError("the transport was closed, or the process forked, while a request was under way")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # nothing where it is done

    def close(self) -> None:
        """Cancel what still runs and end the thread. Closed twice is closed."""
        if self.lives:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(END_SECONDS)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stopped())

    async def _stopped(self) -> None:
        await self._stop.wait()
