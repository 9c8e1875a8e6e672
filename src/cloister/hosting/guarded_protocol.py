"""uvicorn's HTTP/1.1 protocol with what it leaves open: caps on heads, bodies and connections, times for each, callers.

What is refused here is refused as problem details, before a route is looked for. One request at a time: after a second,
pipelined one is seen, the connection closes behind the first answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from cloister.errors import CloisterError, MalformedInput, TooLarge
from cloister.hosting.http_message import encode_head, status_line
from cloister.hosting.loopback import GRACE_SECONDS
from cloister.hosting.problem import MEDIA_TYPE, encode, problem_of
from cloister.hosting.service_limits import ServiceLimits
from cloister.hosting.tls import TlsServer, caller_names

MAXIMUM_HEAD = 32 * 1024  # bytes
MAXIMUM_HEADERS = 100
LINGER_SECONDS = 1.0  # in which what a refused caller still sends is read, lest a reset destroy its answer
CALLER = "caller"  # in a request's state: the names in the caller's certificate, none without TLS


class HeadTooLarge(TooLarge):
    """A request's head is over its cap."""

    status = 431


class SlowRequest(MalformedInput):
    """The request did not arrive in its time."""

    status = 408
    retry = True


class GuardedConfig(uvicorn.Config):
    """uvicorn's configuration of one application, and what its connections are held to."""

    def __init__(self, app: ASGIApp, limits: ServiceLimits, tls: TlsServer | None) -> None:
        super().__init__(
            app,
            loop="none",
            http=GuardedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",  # its warnings are the mistakes of callers, one a request
            access_log=False,
            server_header=False,
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=int(GRACE_SECONDS),
        )
        self.limits = limits
        self.tls = tls


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    config: GuardedConfig

    def __init__(
        self,
        config: GuardedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = config.limits
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_fed = self._body_fed = 0  # bytes
        self._refused: CloisterError | None = None  # nothing more is read then

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller has connected, and shown its certificate where one is asked for."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, CALLER: caller_names(transport)}
        stranger = self.config.tls is not None and not self.config.tls.admits(transport)
        if stranger or len(self.connections) > self._limits.connections:
            transport.abort()
        else:
            self._expect_within(self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone."""
        self._expect_within(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        if self._refused is not None:
            return
        super().data_received(data)
        self._head_fed += len(data)  # a head that does not end is kept by the parser, field by field
        if self._in_head and self._head_fed > MAXIMUM_HEAD:
            self._refuse(HeadTooLarge(f"a head over the cap of {MAXIMUM_HEAD} bytes"))

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._answering:
            raise self._refusal(MalformedInput("a second request before the first was answered"))
        super().on_message_begin()
        self._in_head = True
        self._head_fed = self._body_fed = 0
        self._expect_within(self._limits.head_seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        super().on_header(name, value)
        if len(self.headers) > MAXIMUM_HEADERS:
            raise self._refusal(HeadTooLarge(f"more than {MAXIMUM_HEADERS} headers"))

    def on_headers_complete(self) -> None:
        """The head is complete: the application takes over."""
        self._in_head = False
        if not self.url.startswith(b"/"):
            raise self._refusal(MalformedInput("a request's target is a path"))
        self._expect_within(self._limits.body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body; routes have lower caps, this one is for what no route reads."""
        self._body_fed += len(body)
        if self._body_fed > self._limits.body_bytes:
            raise self._refusal(TooLarge(f"a body over the cap of {self._limits.body_bytes} bytes"))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._expect_within(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The way out of uvicorn for every error of its parser, ours among them."""
        del msg  # it is said in our words
        self._refuse(self._refused or MalformedInput("not an HTTP/1.1 message"))

    def on_response_complete(self) -> None:
        """An answer is written; the caller may have yet to read it."""
        super().on_response_complete()
        self._bound_farewell()

    def timeout_keep_alive_handler(self) -> None:
        """No other request came."""
        super().timeout_keep_alive_handler()
        self._bound_farewell()

    @property
    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        return cycle is not None and not cycle.response_complete

    def _refusal(self, error: CloisterError) -> CloisterError:
        """Keep `error` for when the parser has passed it on."""
        self._refused = error
        return error

    def _refuse(self, error: CloisterError) -> None:
        """Answer with `error` and close; behind the answer that is under way, if the request before it was whole."""
        self._refused = error
        self._in_head = False
        self._expect_within(None)
        if self._answering and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return
        if self._answering:
            self.cycle.disconnected = True  # the application learns that the rest does not come
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        self.transport.write(_answer(error))
        self._linger()

    def _linger(self) -> None:
        """Say that no more is written, and drop what still arrives for a moment."""
        if self.transport.can_write_eof():
            self.transport.resume_reading()
            self.transport.write_eof()
            self._timer = self.loop.call_later(LINGER_SECONDS, self._leave)
        else:
            self._leave()

    def _leave(self) -> None:
        self.transport.close()
        self._bound_farewell()

    def _bound_farewell(self) -> None:
        """A closed connection lives until its last byte is read; not without end."""
        if self.transport.is_closing():
            self._expect_within(self._limits.answer_seconds)

    def _expect_within(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._expired)

    def _expired(self) -> None:
        if self.transport.is_closing():
            self.transport.abort()
        else:
            self._refuse(SlowRequest("the request did not arrive in its time"))


def _answer(error: CloisterError) -> bytes:
    body = encode(problem_of(error))
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    return encode_head(status_line(error.status), headers) + body
