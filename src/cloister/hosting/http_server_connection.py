"""One client's connection to the lean HTTP/1.1 server: idle, then a head, then a request that is being answered."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass

import httptools

from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.hosting.fault import place_of
from cloister.hosting.http_body import Body
from cloister.hosting.http_connection import Connection, PeerLeft
from cloister.hosting.http_exchange import CutAnswer, Handler, Limits, Request, Response, problem_response
from cloister.hosting.http_head import WrongVersion
from cloister.hosting.http_listener import ListenerState
from cloister.hosting.http_message import encode_head, header, status_line
from cloister.hosting.problem import problem, problem_of

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LINGER_SECONDS = 2.0  # in which what a refused client still sends is read, lest a reset destroy its answer
NEVER = math.inf
BODILESS = (204, 304)

_log = logging.getLogger(__name__)


class SlowRequest(MalformedInput):
    """The request did not arrive in its time."""

    status = 408
    retry = True


class _SecondRequest(MalformedInput):
    """A request that came before the answer to the one before it; it is not read."""


@dataclass(slots=True, eq=False)
class ServerState(ListenerState["ServerConnection"]):
    """Shared by the connections of one server."""

    handler: Handler
    limits: Limits


class ServerConnection(Connection):
    """One client's connection: idle, then a head, then a request that is being answered."""

    def __init__(self, server: ServerState) -> None:
        super().__init__()
        self.task: asyncio.Task[None] | None = None
        self.ending: set[asyncio.Task[None]] = set()  # answers that are out, and close what they came from
        self._server = server
        self._limits = server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._request: Request | None = None
        self._received = 0  # bytes of the request's body
        self._keep_alive = True
        self._refusing = False  # nothing more of what arrives is read
        self._expects_continue = False
        self._deadline = self._body_deadline = self._write_deadline = NEVER
        self._unsent = 0  # bytes, when last looked at

    # --- what arrives ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._server.connections.add(self)
        self._deadline = self.loop.time() + self._limits.idle_seconds
        stranger = self._server.tls is not None and not self._server.tls.admits(transport)
        if stranger or self._server.closing or len(self._server.connections) > self._limits.connections:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: nobody waits for the answer."""
        super().connection_lost(exc)
        self._server.connections.discard(self)
        if self._request is not None:
            self._request.body.fail(PeerLeft("the client closed the connection"))
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        """More of a request, or of the next."""
        if not self._refusing and (error := self.feed(self._parser, data)):
            self._refuse(error)

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._request is not None:
            raise _SecondRequest("a second request before the first was answered")
        super().on_message_begin()
        self._target = b""
        self._deadline = self.loop.time() + self._limits.head_seconds

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        super().on_url(url)
        self._target += url

    def on_headers_complete(self) -> None:
        """The head is complete: the handler takes over."""
        self.in_head = False
        length = self._check_head()
        self._keep_alive = self._parser.should_keep_alive()
        self._expects_continue = header(self.headers, b"expect") == b"100-continue"
        self._received = 0
        now = self.loop.time()
        self._body_deadline = now + self._limits.body_seconds
        self._deadline = now + self._limits.stall_seconds
        self._request = Request(
            method=self._parser.get_method().decode("ascii"),
            target=self._target.decode("latin-1"),
            headers=self.headers,
            body=Body(self, length),
        )
        self.task = self.loop.create_task(self._answer(self._request))

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._received += len(data)
        if self._received > self._limits.body_bytes:
            raise TooLarge(f"a body over the cap of {self._limits.body_bytes} bytes")
        self._deadline = self.loop.time() + self._limits.stall_seconds
        if self._request is not None:
            self._request.body.feed(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._deadline = self._body_deadline = NEVER
        if self._request is not None:
            self._request.body.finish()

    def _check_head(self) -> int | None:
        """The announced length of the body. Raises what refuses the head."""
        if self._parser.get_http_version() != "1.1":
            raise WrongVersion("only HTTP/1.1 is spoken here")
        if header(self.headers, b"host") is None:
            raise MalformedInput("a request has one Host header")
        if not self._target.startswith(b"/"):
            raise MalformedInput("a request's target is a path")
        length = header(self.headers, b"content-length")
        if length is not None and int(length) > self._limits.body_bytes:
            raise TooLarge(f"a body of {int(length)} bytes, the cap is {self._limits.body_bytes}")
        return None if length is None else int(length)

    def _refuse(self, error: CloisterError) -> None:
        """Stop reading. A request that is being answered learns of it through its body; otherwise answer here."""
        self._refusing = True
        self._keep_alive = False
        self._deadline = self._body_deadline = NEVER
        if self._request is not None:
            self._request.body.fail(error)
        elif self.transport is not None:
            response = problem_response(problem_of(error))
            assert isinstance(response.body, bytes)
            self.transport.write(self._head(response, keep_alive=False) + response.body)
            self._linger()

    # --- the source of a body ---

    def pause_body(self) -> None:
        """Let the client wait."""
        super().pause_body()
        self._deadline = NEVER  # it is not the client that stalls

    def resume_body(self) -> None:
        """Let the client go on."""
        super().resume_body()
        self._deadline = self.loop.time() + self._limits.stall_seconds

    def want_body(self) -> None:
        """Tell a client that waits for it to send the body (RFC 9110 section 10.1.1)."""
        if self._expects_continue and self._received == 0 and self.transport is not None:
            self.transport.write(CONTINUE)
        self._expects_continue = False

    # --- what is answered ---

    async def _answer(self, request: Request) -> None:
        response = await self._respond(request)
        try:
            keep_alive = await self._send(request, response)
        except PeerLeft:
            self._answered(keep_alive=False)
        except CutAnswer:
            if self.transport is not None:
                self.transport.close()
        except Exception as error:  # noqa: BLE001 - the head is out: only a cut can say that the rest is missing
            _log.error("an answer broke off: %s", place_of(error))
            self.abort()
        else:
            self._answered(keep_alive=keep_alive)
        finally:
            await response.close()

    def _answered(self, *, keep_alive: bool) -> None:
        """The answer is out, and the next request may be here before what the answer came from was closed."""
        if self.task is not None:
            self.ending.add(self.task)
            self.task.add_done_callback(self.ending.discard)
        self.task = self._request = None
        if not (keep_alive and self._keep_alive):
            self._linger()
        elif self._server.leaving:
            self.close_when_idle()
        else:
            self._deadline = self.loop.time() + self._limits.idle_seconds

    async def _send(self, request: Request, response: Response) -> bool:
        """Write the response; whether its head lets the connection live on."""
        self._expects_continue = False
        keep_alive = self._keep_alive and request.body.finished and not self._server.leaving
        body = b"" if request.method == "HEAD" else response.body
        await self.write_message(self._head(response, keep_alive=keep_alive), body, length=response.length)
        return keep_alive

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._server.handler(request)
        except CloisterError as error:
            return problem_response(problem_of(error))
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request
            _log.error("a request failed by a fault of ours: %s", place_of(error))
            return problem_response(problem(500, "a fault of the service; it was logged"))

    def _head(self, response: Response, *, keep_alive: bool) -> bytes:
        headers = [*response.headers, (b"date", self._server.date)]
        if response.status in BODILESS:
            pass
        elif response.length is not None:
            headers.append((b"content-length", b"%d" % response.length))
        else:
            headers.append((b"transfer-encoding", b"chunked"))
        if not keep_alive:
            headers.append((b"connection", b"close"))
        return encode_head(status_line(response.status), headers)

    # --- time ---

    def check_deadlines(self, now: float) -> None:
        """Called every `SWEEP_SECONDS`: what is unsent must shrink, and what is awaited must come."""
        if self.transport is None:
            return
        unsent = self.transport.get_write_buffer_size()
        if self._unsent == 0 or unsent < self._unsent:
            self._write_deadline = now + self._limits.write_seconds
        self._unsent = unsent
        if now >= self._write_deadline:
            self.abort()
        elif now >= min(self._deadline, self._body_deadline):
            self._expire()

    def _expire(self) -> None:
        if self.transport is None:
            return
        if self.transport.is_closing() or (self._refusing and self._request is None):
            if not self._unsent:
                self.abort()
        elif self.in_head or self._request is not None:
            self._refuse(SlowRequest("the request did not arrive in its time"))
        else:
            self.transport.close()

    def close_when_idle(self) -> None:
        """Close now, or after the answer that is under way."""
        self._keep_alive = False
        if self._request is None and self.transport is not None:
            self.transport.close()

    def _linger(self) -> None:
        """Say that no more is written, and drop what still arrives for a moment."""
        self._refusing = True
        self._deadline = self.loop.time() + LINGER_SECONDS
        if self.transport is None:
            return
        if self.transport.can_write_eof():
            self.transport.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()
