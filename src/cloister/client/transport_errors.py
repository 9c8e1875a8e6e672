"""Our errors as those of an HTTP client library: what catches that library's errors catches ours, the cause beneath.

OpenAI's SDKs wrap what derives from the library's `RequestError`; anything else would escape them as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

from cloister.client.answer_stream import AnswerCut
from cloister.client.relay import RelayNotReached, RelayTooSlow
from cloister.errors import CloisterError, Unavailable, UsageError

# The first kind that an error is of; the names are the same in httpx and httpx2.
KINDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "ReadTimeout"),  # the caller's own limit
    (RelayTooSlow, "ReadTimeout"),
    (RelayNotReached, "ConnectError"),
    (AnswerCut, "RemoteProtocolError"),  # as the libraries themselves say of a body that is not whole
    (Unavailable, "ReadError"),
    (UsageError, "LocalProtocolError"),  # a request that cannot travel
    (CloisterError, "RemoteProtocolError"),  # refused by a check, or an answer that is none
)


@contextlib.contextmanager
def errors_of(http: Any, request: Any) -> Iterator[None]:
    """Raise what is raised within as an error of the module `http`, about `request`."""
    try:
        yield
    except (CloisterError, TimeoutError) as error:
        kind = next(name for ours, name in KINDS if isinstance(error, ours))
        said = str(error) or "no answer came within the time that this request was given"
        raise getattr(http, kind)(said, request=request) from error
