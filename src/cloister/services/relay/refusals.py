"""Why a relay does not pass something on, each with its status."""

from __future__ import annotations

from cloister.errors import MalformedInput, Unavailable, UsageError


class NoSuchRoute(UsageError):
    """Another route than the two."""

    status = 404


class WrongMethod(UsageError):
    """Another method than the route's; `allowed` are those."""

    status = 405

    def __init__(self, sentence: str, allowed: str) -> None:
        super().__init__(sentence)
        self.allowed = allowed


class WrongMediaType(UsageError):
    """Not an encapsulated request."""

    status = 415


class SlowRequest(MalformedInput):
    """The request did not arrive in its time."""

    status = 408
    retry = True


class Busy(Unavailable):
    """As much is under way as may be; `seconds` says when to ask again."""

    def __init__(self, sentence: str, seconds: float = 1.0) -> None:
        super().__init__(sentence)
        self.seconds = seconds


class TooMany(Busy):
    """One client asks for more than its share."""

    status = 429


class NoGateway(Unavailable):
    """No gateway takes connections."""

    status = 502


class GatewayFailed(Unavailable):
    """The gateway broke off, or its answer is none."""

    status = 502


class GatewayTooSlow(Unavailable):
    """The gateway did not answer in its time."""

    status = 504
