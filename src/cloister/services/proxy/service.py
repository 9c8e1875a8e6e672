"""The proxy: callers of this machine who hold its token, requests to /v1/, answers whose receipts were examined."""

from __future__ import annotations

import asyncio
import hmac
import socket
import time
from collections.abc import Callable
from pathlib import Path

from cloister.client.exchange import MAXIMUM_REQUEST, UserRequest
from cloister.client.memory_file import MemoryFile
from cloister.client.receipts import store_receipt
from cloister.client.relay import Relay
from cloister.client.session import Answer, Session
from cloister.client.trust_policy_file import read_trust_policy
from cloister.errors import CloisterError, UsageError
from cloister.hosting.http_exchange import Limits, Request, Response
from cloister.hosting.http_message import header
from cloister.hosting.http_server import serve_http
from cloister.hosting.loopback import LOOPBACK, listen, port_of, run_until_stopped
from cloister.secret import SecretBytes
from cloister.services.proxy import openai_error
from cloister.services.proxy.openai_error import INVALID
from cloister.services.proxy.settings import ProxySettings

API = "/v1/"
RECEIPT_FILE_HEADER = b"cloister-receipt-file"
MINIMUM_TOKEN = 16  # bytes
UNLIMITED = 2**53  # bytes, to the server: the cap is kept where its refusal has OpenAI's shape


def run(settings: ProxySettings) -> None:
    """Serve until SIGTERM or SIGINT."""

    async def main(stop: asyncio.Event) -> None:
        await serve_proxy(settings, stop, clock=time.time)  # noqa: TID251 - the outermost place that has one

    run_until_stopped(main)


async def serve_proxy(settings: ProxySettings, stop: asyncio.Event, *, clock: Callable[[], float]) -> None:
    """Serve until `stop` is set; `clock` says the seconds since 1970."""
    policy = read_trust_policy(settings.trust_policy)
    token = read_token(settings.token)
    memory = MemoryFile(settings.memory, genesis=policy.constitution)
    listener = listen(LOOPBACK, settings.port)
    async with Session(policy, memory, Relay(settings.relay_url), clock=clock) as session:
        proxy = Proxy(session, token=token, receipts=settings.receipts, port=port_of(listener))
        await serve_callers(proxy, listener, stop, connections=settings.connections, ready=settings.ready)


async def serve_callers(
    proxy: Proxy, listener: socket.socket, stop: asyncio.Event, *, connections: int = 64, ready: Path | None = None
) -> None:
    """Serve `proxy` on `listener` until `stop` is set."""
    limits = Limits(body_bytes=UNLIMITED, connections=connections)
    await serve_http(proxy.answer, listener, stop, limits=limits, ready=ready)


def read_token(path: Path) -> SecretBytes:
    """The bearer token in the file at `path`.

    Raises:
        UsageError: it cannot be read, or is too short to be one.
    """
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise UsageError(f"the token {path} cannot be read: {error.strerror}") from error
    if len(token) < MINIMUM_TOKEN:
        raise UsageError(f"the token in {path} has {len(token)} bytes, at least {MINIMUM_TOKEN} are needed")
    return SecretBytes(token)


class Proxy:
    """Answers one request at a time of many."""

    def __init__(self, session: Session, *, token: SecretBytes, receipts: Path, port: int) -> None:
        self._session = session
        self._token = token
        self._receipts = receipts
        self._hosts = tuple(f"{name}:{port}".encode() for name in (LOOPBACK, "localhost"))

    async def answer(self, request: Request) -> Response:
        """The engine's answer, or an error in OpenAI's shape."""
        refused = self._refusal(request)
        if refused is not None:
            return refused
        try:
            body = await request.body.read(MAXIMUM_REQUEST)
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
            answered = await self._session.send(UserRequest(request.method, request.target, headers, body))
            return await self._shown(answered)
        except CloisterError as error:
            return openai_error.answer_to(error)

    def _refusal(self, request: Request) -> Response | None:
        """What stands against a request before its body is read."""
        if header(request.headers, b"host") not in self._hosts:
            # A page that has its own name resolve to 127.0.0.1 sends that name here: DNS rebinding.
            message = "this proxy answers to 127.0.0.1 and localhost only, at its own port"
            return openai_error.answer(403, message, kind=INVALID, code="wrong_host")
        if not self._may(header(request.headers, b"authorization") or b""):
            message = 'wrong or missing API key: it is this machine\'s own, see eval "$(cloister env)"'
            return openai_error.answer(401, message, kind=INVALID, code="invalid_api_key")
        if not request.target.startswith(API):
            message = f"no such path: requests go to {API}…, as {API}audio/transcriptions"
            return openai_error.answer(404, message, kind=INVALID, code="unknown_url")
        return None

    def _may(self, authorization: bytes) -> bool:
        scheme, _, shown = authorization.partition(b" ")
        return hmac.compare_digest(shown.strip(), self._token.reveal()) and scheme.lower() == b"bearer"

    async def _shown(self, answered: Answer) -> Response:
        """The answer with the path of its receipt, which is kept before anything is shown."""
        path = await asyncio.to_thread(store_receipt, self._receipts, answered.receipt)
        response = answered.response
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        return Response(response.status, [*headers, (RECEIPT_FILE_HEADER, str(path).encode())], response.body)
