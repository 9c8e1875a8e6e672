"""Errors in OpenAI's shape, as an engine answers them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from cloister.engines.server import Response
from cloister.errors import CloisterError


class ApiError(CloisterError):
    """A request that an engine refuses; it names the parameter at fault, and never quotes its content."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.http_status = status
        self.param = param
        self.code = code

    def response(self) -> Response:
        """The answer that says so."""
        error = {"message": str(self), "type": "invalid_request_error", "param": self.param, "code": self.code}
        return Response.json({"error": error}, status=self.http_status)
