"""Problem details (RFC 9457): what a service says over HTTP when it cannot or will not do something.

Members: `type`, `title`, `status`, `detail`, and of ours `check` (the id of a failed check), `failed` (all of them,
where a service tells them all) and `retry` (whether the same request may succeed later). Nothing in it quotes what a
user sent.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from cloister.errors import CloisterError, MalformedInput, Refused, TooLarge
from cloister.examination import RefusedSteps

MEDIA_TYPE = "application/problem+json"
MAXIMUM_BYTES = 16_384
MAXIMUM_FAILED, MAXIMUM_SHORTFALL = 32, 300  # checks that are told, and characters of each shortfall


class FailedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One check that failed, and by how much."""

    check: str
    shortfall: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One problem, as RFC 9457 section 3.1 lists its members; `check` and `retry` are ours."""

    title: str
    status: int
    detail: str
    retry: bool
    type: str = "about:blank"
    check: str | None = None
    failed: tuple[FailedCheck, ...] = ()


def problem_of(error: CloisterError) -> Problem:
    """The problem that `error` is; an error class may name its own type URI as `problem_type`."""
    return Problem(
        type=getattr(error, "problem_type", "about:blank"),
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=str(error),
        check=error.check if isinstance(error, Refused) else None,
        failed=_failed(error) if isinstance(error, RefusedSteps) else (),
        retry=error.retry,
    )


def _failed(error: RefusedSteps) -> tuple[FailedCheck, ...]:
    told = error.failed[:MAXIMUM_FAILED]
    return tuple(FailedCheck(check=step.id, shortfall=step.detail[:MAXIMUM_SHORTFALL]) for step in told)


def problem(status: int, detail: str, *, retry: bool = False) -> Problem:
    """A problem that has no error of ours behind it."""
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, retry=retry)


def encode(value: Problem) -> bytes:
    """The JSON of `value`, to be sent as `application/problem+json`."""
    return msgspec.json.encode(value)


def parse(data: bytes) -> Problem:
    """The problem a peer sent; unknown members are ignored, as RFC 9457 section 3.2 asks.

    Raises:
        TooLarge: longer than `MAXIMUM_BYTES`.
        MalformedInput: not a problem with our members.
    """
    if len(data) > MAXIMUM_BYTES:
        raise TooLarge(f"a problem of {len(data)} bytes, the cap is {MAXIMUM_BYTES}")
    try:
        return msgspec.json.decode(data, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedInput(f"not problem details: {error}") from error
