"""What the APIs of our engines share: paths and their methods, models beside them, and errors in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from cloister.engines.api_error import ApiError
from cloister.engines.http_exchange import Handler, Request, Response
from cloister.engines.models_api import MODELS


def answering(answer: Callable[[Request], Response]) -> Handler:
    """`answer`, whose refusals become answers."""

    def handle(request: Request) -> Response:
        try:
            return answer(request)
        except ApiError as error:
            return error.response()

    return handle


def require_route(request: Request, methods: Mapping[str, str]) -> None:
    """Hold that there is such a path, of `methods` or of the models, and that the request's method is the one it takes.

    Raises:
        ApiError: 404 or 405.
    """
    path = request.path
    if path != MODELS and not path.startswith(f"{MODELS}/") and path not in methods:
        raise ApiError(HTTPStatus.NOT_FOUND, "Invalid URL.", code="unknown_url")
    method = methods.get(path, "GET")
    if request.method != method:
        message = f"Not allowed to use this method here; {path if path in methods else MODELS} takes {method}."
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, message, code="method_not_supported")
