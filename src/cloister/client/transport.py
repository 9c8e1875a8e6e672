"""Transports for httpx and httpx2: a program's own HTTP client, its requests sealed and its answers proved.

Of a request only method, path, body and the headers on the client's list travel; its host and its credentials stay
here. Neither library is imported: a transport is built against the module that is passed in.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cloister.client.exchange import UserRequest
from cloister.client.local_system import relay_of, state_folder
from cloister.client.loop_thread import LoopThread
from cloister.client.memory_file import MemoryFile
from cloister.client.receipts import store_receipt
from cloister.client.relay import Relay
from cloister.client.session import Answer, Session
from cloister.client.transport_errors import errors_of
from cloister.client.trust_policy_file import read_trust_policy
from cloister.errors import UsageError

Name = str | os.PathLike[str]
RECEIPT_FILE_HEADER = "cloister-receipt-file"


class Service(NamedTuple):
    """How to open a session with one service, and where its receipts are kept, if anywhere."""

    open: Callable[[], Session]
    receipts: Path | None


def transport(
    http: Any,
    *,
    relay: str | None = None,
    trust_policy: Name | None = None,
    memory: Name | None = None,
    receipts: Name | None = None,
    state: Name | None = None,
) -> Any:
    """A `BaseTransport` of the module `http`, for its `Client`; close that, or the transport.

    Args:
        http: `httpx`, `httpx2`, or another module with their names.
        relay: the relay's URL; else that of the local system that runs.
        trust_policy: a TOML file; else the state folder's.
        memory: the file of what this client remembers of the log; else `client-memory` beside the trust policy.
        receipts: a folder in which every receipt is kept; without one they are examined, and not kept.
        state: the local system's state folder; else `$CLOISTER_STATE`, or the default one.

    Raises:
        UsageError: the trust policy cannot be read.
        NoLocalSystem: no relay is named, and no local system runs.
    """
    kind = type("CloisterTransport", (_Transport, http.BaseTransport), {})
    return kind(http, _service(relay, trust_policy, memory, receipts, state))


def async_transport(
    http: Any,
    *,
    relay: str | None = None,
    trust_policy: Name | None = None,
    memory: Name | None = None,
    receipts: Name | None = None,
    state: Name | None = None,
) -> Any:
    """An `AsyncBaseTransport` of the module `http`, for its `AsyncClient` on asyncio; else as `transport`."""
    kind = type("AsyncCloisterTransport", (_AsyncTransport, http.AsyncBaseTransport), {})
    return kind(http, _service(relay, trust_policy, memory, receipts, state))


def _service(
    relay: str | None, trust_policy: Name | None, memory: Name | None, receipts: Name | None, state: Name | None
) -> Service:
    folder = state_folder() if state is None else Path(state)
    policy_path = folder / "trust-policy.toml" if trust_policy is None else Path(trust_policy)
    url = relay_of(folder) if relay is None else relay
    policy = read_trust_policy(policy_path)
    remembered = MemoryFile(
        policy_path.with_name("client-memory") if memory is None else Path(memory), genesis=policy.constitution
    )
    return Service(lambda: Session(policy, remembered, Relay(url)), None if receipts is None else Path(receipts))


class _AsyncTransport:
    """For programs with an event loop: the session runs in it."""

    def __init__(self, http: Any, service: Service) -> None:
        self._http = http
        self._service = service
        self._session: Session | None = None

    async def handle_async_request(self, request: Any) -> Any:
        """The proved answer to `request`."""
        with errors_of(self._http, request):
            if self._session is None:
                self._session = self._service.open()
            body = await request.aread()
            return await _answer(self._http, self._session, self._service.receipts, request, body)

    async def aclose(self) -> None:
        """Close the connections to the relay."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class _Running(NamedTuple):
    """A session and the loop that it runs in."""

    loop: LoopThread
    session: Session


class _Transport:
    """For programs without one: the session runs in a thread, from the first request until it is closed."""

    def __init__(self, http: Any, service: Service) -> None:
        self._http = http
        self._service = service
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._end: weakref.finalize[..., Any] | None = None

    def handle_request(self, request: Any) -> Any:
        """The proved answer to `request`."""
        body = request.read()
        with errors_of(self._http, request):
            loop, session = self._run()
            return loop.run(_answer(self._http, session, self._service.receipts, request, body))

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
                self._running = _Running(LoopThread(), self._service.open())
                # At the latest when nobody holds the transport any more, or the program ends.
                self._end = weakref.finalize(self, _end, self._running)
            return self._running


def _end(running: _Running) -> None:
    if running.loop.lives:
        running.loop.run(running.session.close())
        running.loop.close()


async def _answer(http: Any, session: Session, receipts: Path | None, request: Any, body: bytes) -> Any:
    headers = request.headers.multi_items()
    path = request.url.raw_path.decode("ascii")
    # httpx has a limit for each read; everything before the answer's first byte counts as one here.
    async with asyncio.timeout(request.extensions.get("timeout", {}).get("read")):
        answer = await session.send(UserRequest(request.method, path, headers, body))
    shown = [*answer.response.headers, *await _kept(answer, receipts)]
    return http.Response(answer.response.status, headers=shown, content=answer.response.body, request=request)


async def _kept(answer: Answer, receipts: Path | None) -> list[tuple[str, str]]:
    """Keep the receipt before the answer is shown; the header that says where."""
    if receipts is None:
        return []
    path = await asyncio.to_thread(store_receipt, receipts, answer.receipt)
    return [(RECEIPT_FILE_HEADER, str(path))]
