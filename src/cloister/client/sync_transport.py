"""The transport of programs without an event loop: the session runs in a thread, from the first request to the end."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cloister.client.loop_thread import LoopThread
from cloister.client.replies import Asking, Reply, beginning_of, from_thread
from cloister.client.session import MAXIMUM_PLAIN
from cloister.client.transport_errors import errors_of
from cloister.client.transport_messages import ask, next_piece, response
from cloister.errors import UsageError


class _Running(NamedTuple):
    """What asks, and the loop that it runs in."""

    loop: LoopThread
    asking: Asking


class SyncTransport:
    """To be derived from together with the library's own base class."""

    def __init__(self, http: Any, make: Callable[[], Asking]) -> None:
        self._http = http
        self._make = make
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._end: weakref.finalize[..., Any] | None = None
        self._stream = type("CloisterStream", (_Arriving, http.SyncByteStream), {})

    def handle_request(self, request: Any) -> Any:
        """The answer to `request`: proved, or proved when its stream has ended without an error."""
        with errors_of(self._http, request):
            loop, asking = self._run()
        pieces = iter(request.stream)
        beginning = beginning_of(pieces, MAXIMUM_PLAIN)
        with errors_of(self._http, request):
            reply = loop.run(ask(asking, request, beginning, from_thread(pieces)))
        return response(self._http, request, reply, self._stream(self._http, request, reply, loop))

    def close(self) -> None:
        """Close the connections to the relay and end the thread; the next request begins anew."""
        with self._lock:
            if self._end is not None:
                self._end()

    def _run(self) -> _Running:
        with self._lock:
            if self._running is not None and self._running.loop.left_behind:
                raise UsageError("this transport was used before the process forked: make one in each process")
            if self._running is None or not self._running.loop.lives:  # not yet, or closed
                self._running = _Running(LoopThread(), self._make())
                # At the latest when nobody holds the transport any more, or the program ends.
                self._end = weakref.finalize(self, _end, self._running)
            return self._running


class _Arriving:
    """A body that arrives."""

    def __init__(self, http: Any, request: Any, reply: Reply, loop: LoopThread) -> None:
        self._http = http
        self._request = request
        self._reply = reply
        self._loop = loop

    def __iter__(self) -> Iterator[bytes]:
        piece = b"first"
        while piece:
            with errors_of(self._http, self._request):
                piece = self._loop.run(next_piece(self._request, self._reply))
            if piece:
                yield piece

    def close(self) -> None:
        """Leave the answer, which is cut off where it has not ended."""
        if self._loop.lives:
            self._loop.run(_close(self._reply))


async def _close(reply: Reply) -> None:
    await reply.close()


def _end(running: _Running) -> None:
    if running.loop.lives:
        running.loop.run(running.asking.close())
        running.loop.close()
