"""A Starlette application as every service wants it: health routes, problem details, capped bodies."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from cloister.errors import CloisterError, TooLarge, UsageError
from cloister.hosting.admission import Admission
from cloister.hosting.answers import RETRY_SECONDS, problem_response
from cloister.hosting.health import Health, Metrics
from cloister.hosting.problem import problem, problem_of
from cloister.hosting.service_limits import ServiceLimits


def application(
    health: Health,
    routes: Sequence[BaseRoute],
    *,
    limits: ServiceLimits | None = None,
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """The application of a service: its routes, those of its `health`, and problems for everything else."""

    async def answer(request: Request) -> Response:
        status, content_type, body = await health.asked(request.url.path)
        return Response(body, status, {"content-type": content_type})

    table = [*routes, *(Route(path, answer) for path in Health.PATHS)]
    app = Starlette(
        routes=table,
        lifespan=lifespan,
        exception_handlers={
            CloisterError: _answer_error,
            HTTPException: _answer_refused_route,
            ClientDisconnect: _answer_nobody,
        },
    )
    app.add_middleware(Admission, limits=limits or ServiceLimits())
    app.add_middleware(_Counted, metrics=health.metrics)
    return app


class WrongMediaType(UsageError):
    """A body of another kind than the route takes."""

    status = 415


def require_media_type(request: Request, media_type: str) -> None:
    """Take only what calls itself `media_type`, which is none that a web page may send elsewhere without asking first.

    A page on the same machine's browser can POST `text/plain`, or nothing, to any address; for other types the browser
    asks the service before (a CORS preflight), and no service here agrees.

    Raises:
        WrongMediaType: it calls itself something else, or nothing.
    """
    if request.headers.getlist("content-type") != [media_type]:
        raise WrongMediaType(f"{request.method} here takes {media_type}")


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, refused as soon as it is longer than `limit` bytes.

    Raises:
        TooLarge: the length that was announced, or what has arrived, is over the cap.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"a body of {announced} bytes, the cap is {limit}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"a body over the cap of {limit} bytes")
    return bytes(body)


def _answer_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, CloisterError)
    return problem_response(problem_of(error), retry_seconds=getattr(error, "retry_seconds", RETRY_SECONDS))


def _answer_refused_route(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = problem_response(problem(error.status_code, str(error.detail)))
    response.headers.update(error.headers or {})
    return response


def _answer_nobody(_request: Request, _error: Exception) -> Response:
    """The caller left, or was cut off, before its request was whole: nothing is sent, and no fault of ours."""
    return Response(status_code=400)


class _Counted:
    """Counts requests by route template, never by the path as sent."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            route = scope.get("route")
            template = getattr(route, "path", "unknown")
            self._metrics.observe(template, status, perf_counter() - started)
