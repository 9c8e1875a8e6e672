"""What a program gets where the relay takes no more of its requests: OpenAI's answer to too many.

OpenAI's SDKs raise it as `RateLimitError`, and wait as its Retry-After says; they look for that in an answer only.
"""

from __future__ import annotations

import msgspec

from cloister.client.clear_answer import TooManyRequests
from cloister.formats.binary_http import Response


def too_many_requests(error: TooManyRequests) -> Response:
    """The answer; no gateway gave it, and it has no receipt."""
    said = {"message": str(error), "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    fields = (("content-type", "application/json"), ("retry-after", str(error.retry_seconds)))
    return Response(error.status, fields, msgspec.json.encode({"error": said}))
