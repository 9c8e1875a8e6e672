"""Errors in OpenAI's shape, as an engine answers them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from http import HTTPStatus

from cloister.engines.http_exchange import Response
from cloister.errors import CloisterError


class ApiError(CloisterError):
    """A request that an engine refuses; it names the parameter at fault, and never quotes its content."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.http_status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, dict[str, str | None]]:
        """The error as an object."""
        error = {"message": str(self), "type": "invalid_request_error", "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> Response:
        """The answer that says so."""
        return Response.json(self.body(), status=self.http_status)


def no_such_model() -> ApiError:
    """The API's words for a model that is not there, without its name, which is the client's."""
    message = "The model does not exist, or you do not have access to it: GET /v1/models lists those there are."
    return ApiError(HTTPStatus.NOT_FOUND, message, param="model", code="model_not_found")
