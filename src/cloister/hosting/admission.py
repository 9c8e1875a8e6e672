"""How many requests a Starlette application answers at a time, for how long each, and the name of each in the logs."""

from __future__ import annotations

import asyncio
import secrets

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloister.hosting.answers import problem_response
from cloister.hosting.fault import place_of
from cloister.hosting.health import Health
from cloister.hosting.problem import problem
from cloister.hosting.service_limits import ServiceLimits

REQUEST_ID = b"x-request-id"

_FAULT = problem_response(problem(500, "a fault of the service; it was logged"))


class Cut(Exception):
    """An answer that had begun cannot be ended; the server closes the connection on it."""


class Admission:
    """Answers 503 instead of the application where the limits are reached.

    Every request gets an id, random and this service's own: nothing that a caller sends becomes one. Log lines of the
    request bear it, and so does an answer that is an error, so that a caller can quote it.
    """

    def __init__(self, app: ASGIApp, limits: ServiceLimits) -> None:
        self._app = app
        self._limits = limits
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = secrets.token_hex(8)
        structlog.contextvars.bind_contextvars(request=name)
        started = False

        async def named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] >= 400:
                    message["headers"] = [*message.get("headers", ()), (REQUEST_ID, name.encode())]
            await send(message)

        if self._answering >= self._limits.requests and scope["path"] not in Health.PATHS:
            await _come_back("as many requests are being answered as may be")(scope, receive, named)
            return
        self._answering += 1
        try:
            async with asyncio.timeout(self._limits.answer_seconds) as deadline:
                await self._app(scope, receive, named)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request
            late = deadline.expired()
            if not late:
                structlog.get_logger().error("a request failed by a fault of ours", fault=place_of(error))
            if started:
                raise Cut from None  # only a cut can say that the rest is missing
            await (self._too_late() if late else _FAULT)(scope, receive, named)
        finally:
            self._answering -= 1

    def _too_late(self) -> ASGIApp:
        return _come_back(f"no answer was found within {self._limits.answer_seconds:g} s")


def _come_back(sentence: str) -> ASGIApp:
    return problem_response(problem(503, sentence, retry=True))
