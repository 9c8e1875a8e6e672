"""The proxy: callers who show a token, requests to /v1/ and /v2, answers whose receipts were examined."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from cloister.client.exchange import MAXIMUM_REQUEST, UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.pieces import may_stream
from cloister.client.receipts import store_receipt
from cloister.client.relay import Relay
from cloister.client.session import MAXIMUM_PLAIN, Answer, Session
from cloister.client.trust_policy_file import read_trust_policy
from cloister.errors import CloisterError, TooLarge
from cloister.hosting import logs
from cloister.hosting.health import Health, Metrics
from cloister.hosting.http_exchange import Limits, Request, Response
from cloister.hosting.http_server import serve_http
from cloister.hosting.listening import Listening, listen_with_tokens
from cloister.hosting.loopback import port_of, run_until_stopped
from cloister.services.proxy import openai_error
from cloister.services.proxy.callers import open_callers
from cloister.services.proxy.door import Door
from cloister.services.proxy.openai_error import INVALID
from cloister.services.proxy.settings import ProxySettings
from cloister.services.proxy.streams import answer_in_pieces, beginning_of, continued, shown_headers

API = "/v1/"
APIS = (API, "/v2/")  # OpenAI's and Anthropic's; the Open Inference Protocol
UNLIMITED = 2**53  # bytes, to the server: the cap is kept where its refusal has OpenAI's shape
OF_ONE_PROGRAM = Limits(body_bytes=UNLIMITED, connections=64)


def run(settings: ProxySettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    logs.configure("proxy", level=settings.log_level)

    async def main(stop: asyncio.Event) -> None:
        await serve_proxy(settings, stop, clock=time.time)  # noqa: TID251 - the outermost place that has one

    run_until_stopped(main)


async def serve_proxy(settings: ProxySettings, stop: asyncio.Event, *, clock: Callable[[], float]) -> None:
    """Serve until `stop` is set; `clock` says the seconds since 1970."""
    policy = read_trust_policy(settings.trust_policy)
    callers = open_callers(settings.token)
    memory = MemoryFile(settings.memory, genesis=policy.constitution)
    relay = Relay(settings.relay_url, authorities=settings.relay_ca)
    listening = listen_with_tokens(settings.address, settings.port, settings.tls)
    door = Door.on_this_machine(callers, port_of(listening.socket), settings.address)
    if listening.tls is not None:
        door = Door(callers, frozenset(), secure=True)
    async with Session(policy, memory, relay, privacy=settings.privacy, clock=clock) as session:
        proxy = Proxy(session, door=door, receipts=settings.receipts)
        limits = Limits(body_bytes=UNLIMITED, connections=settings.connections, grace_seconds=settings.grace_seconds)
        await serve_callers(proxy, listening, stop, limits=limits, ready=settings.ready)


async def serve_callers(
    proxy: Proxy,
    listening: Listening,
    stop: asyncio.Event,
    *,
    limits: Limits = OF_ONE_PROGRAM,
    ready: Path | None = None,
) -> None:
    """Serve `proxy` until `stop` is set."""
    await serve_http(proxy.answer, listening.socket, stop, limits=limits, ready=ready, tls=listening.tls)


class Proxy:
    """Answers one request at a time of many."""

    def __init__(self, session: Session, *, door: Door, receipts: Path) -> None:
        """`receipts` is the folder that receipts are kept in; callers who have names have folders in it."""
        self._session = session
        self._door = door
        self._receipts = receipts
        self._health = Health("proxy", Metrics("proxy"), missing=list, checks=[session.hold])

    async def answer(self, request: Request) -> Response:
        """The engine's answer, or an error in OpenAI's shape; or how the proxy is."""
        if refused := self._door.wrong_host(request):
            return refused
        if request.target in Health.PATHS and request.method in ("GET", "HEAD"):
            return await self._told(request)
        started = perf_counter()
        response = await self._answered(request)
        self._health.metrics.observe(API, response.status, perf_counter() - started)
        return response

    async def _told(self, request: Request) -> Response:
        """One of the health routes; how much is asked here is told to callers only."""
        entered = self._door.enter(request) if request.target == "/metrics" else ""
        if isinstance(entered, Response):
            return entered
        status, content_type, body = await self._health.asked(request.target)
        return Response(status, [(b"content-type", content_type.encode())], body)

    async def _answered(self, request: Request) -> Response:
        caller = self._door.enter(request)
        if isinstance(caller, Response):
            return caller
        if not request.target.startswith(APIS) and request.target != "/v2":
            message = f"no such path: requests go to {API}… or /v2/…, as {API}audio/transcriptions"
            return openai_error.answer(404, message, kind=INVALID, code="unknown_url")
        try:
            if (request.body.length or 0) > MAXIMUM_REQUEST:
                raise TooLarge(f"a body of {request.body.length} bytes, the cap is {MAXIMUM_REQUEST}")
            beginning, all_of_it = await beginning_of(request.body, MAXIMUM_PLAIN)
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
            asked = UserRequest(request.method, request.target, headers, beginning)
            receipts = self._receipts / caller
            if all_of_it and not may_stream(beginning):
                return await self._shown(await self._session.send(asked), receipts)
            return await answer_in_pieces(self._session, asked, continued(beginning, request.body), receipts)
        except CloisterError as error:
            return openai_error.answer_to(error)

    async def _shown(self, answered: Answer, receipts: Path) -> Response:
        """The answer with the path of its receipt, which is kept before anything is shown."""
        path = await asyncio.to_thread(store_receipt, receipts, answered.receipt)
        response = answered.response
        return Response(response.status, shown_headers(response.headers, path), response.body)
