"""Serves the one socket that an engine inherits: each connection in a process of its own, forked from the warm one.

The process that loaded the model never reads what a client sent. The one that does serves one request and ends, so
nothing of it remains for the next; a crash, a hang or an overrun costs that request alone; and when the peer hangs up,
its process is killed in the middle of whatever it did. Inside the sandbox the second stage confines each such process
further, in the moment in which it is forked (docs/sandbox.md).
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import socket
from typing import NoReturn

from cloister.engines.http_exchange import Handler, Request, Response, answer_one

__all__ = ["Handler", "Request", "Response", "inherited_listener", "serve"]

CONNECTIONS = 32  # beside two for each request at a time, which gateways open ahead; more wait to be accepted


def inherited_listener() -> socket.socket:
    """The listening unix socket whose descriptor the sandbox names in LISTEN_FD."""
    return socket.socket(fileno=int(os.environ["LISTEN_FD"]))  # noqa: TID251 - the one setting an engine has


def serve(listener: socket.socket, handle: Handler, *, at_once: int = 0) -> None:
    """Answer requests on `listener`, `at_once` (0: as many as there are processors), until this process is ended."""
    gc.collect()
    gc.freeze()  # what is loaded stays in pages that all share
    Server(listener, handle, at_once=at_once or len(os.sched_getaffinity(0))).run()


class Server:
    """The warm process: accepts, forks when a first byte has come, reaps; and kills what works for a peer that left.

    Connections on which nothing was said yet cost a descriptor; requests beyond `at_once` wait in their order.
    """

    def __init__(self, listener: socket.socket, handle: Handler, *, at_once: int) -> None:
        self._listener = listener
        self._handle = handle
        self._at_once = at_once
        self._descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = min(CONNECTIONS + 2 * at_once, self._descriptors // 2)
        self._idle: dict[int, socket.socket] = {}  # by descriptor, as are the others
        self._waiting: dict[int, socket.socket] = {}
        self._working: dict[int, tuple[socket.socket, int]] = {}  # with the process
        self._poll = select.poll()
        self._ended, self._note_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until this process is ended."""
        self._listener.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._note_end, warn_on_full_buffer=False)
        self._poll.register(self._ended, select.POLLIN)
        while True:
            held = len(self._idle) + len(self._waiting) + len(self._working)
            self._poll.register(self._listener, select.POLLIN if held < self._most else 0)
            events = dict(self._poll.poll())
            for descriptor in events.keys() & (self._idle.keys() | self._waiting.keys() | self._working.keys()):
                self._said(descriptor, events[descriptor])
            if self._ended in events:
                self._reap()
            if self._listener.fileno() in events:  # last, since a new connection may get the number of one let go
                self._accept()
            while self._waiting and len(self._working) < self._at_once:
                self._fork(next(iter(self._waiting)))

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = self._listener.accept()
            self._idle[connection.fileno()] = connection
            self._poll.register(connection, select.POLLIN)

    def _said(self, descriptor: int, events: int) -> None:
        if descriptor in self._idle and not events & ~select.POLLIN:
            self._waiting[descriptor] = self._idle.pop(descriptor)
            self._poll.modify(descriptor, 0)  # from here on only that the peer left, which is told unasked
            return
        self._poll.unregister(descriptor)
        if descriptor in self._working:  # nobody waits for the answer: end what makes it
            os.kill(self._working[descriptor][1], signal.SIGKILL)
        elif connection := self._idle.pop(descriptor, None) or self._waiting.pop(descriptor, None):
            connection.close()

    def _fork(self, descriptor: int) -> None:
        connection = self._waiting.pop(descriptor)
        try:
            process = os.fork()
        except OSError:  # those that work have used up the tasks or the memory that all share
            self._poll.unregister(descriptor)
            connection.close()
            return
        if process == 0:
            self._work(connection)
        self._working[descriptor] = connection, process

    def _work(self, connection: socket.socket) -> NoReturn:
        """What the forked process does: it keeps nothing but its own connection."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            # The listener, the pipe, others' connections, and what a library left open: all share its place and flags.
            os.closerange(3, connection.fileno())
            os.closerange(connection.fileno() + 1, self._descriptors)
            connection.setblocking(True)
            answer_one(connection, self._handle)
            status = 0
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Let go of the connections whose processes have ended."""
        os.read(self._ended, 4096)
        for descriptor, (connection, process) in list(self._working.items()):
            if os.waitpid(process, os.WNOHANG)[0]:
                with contextlib.suppress(KeyError):  # the peer had left
                    self._poll.unregister(descriptor)
                del self._working[descriptor]
                connection.close()
