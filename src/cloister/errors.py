"""Base errors: each answers whose fault it is and whether a retry can help.

Rooms derive their own errors from these; the command line maps `exit_code`, services map `status`.
"""

from __future__ import annotations

from typing import ClassVar


class CloisterError(Exception):
    """Something a person or a peer is told about. `str()` is a whole sentence, without content of users."""

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    retry: ClassVar[bool] = False


class UsageError(CloisterError):
    """The caller asked for something that makes no sense; the sentence says what would."""

    exit_code = 2
    status = 400


class MalformedInput(UsageError):
    """Bytes are not what their format's page says. Nothing was done with them."""


class TooLarge(UsageError):
    """An input is over its cap; it was refused before any work."""

    status = 413


class Refused(CloisterError):
    """A check failed. `check` is its id in docs/formats/checks.md; `shortfall` says by how much."""

    exit_code = 3
    status = 403

    def __init__(self, check: str, shortfall: str) -> None:
        super().__init__(f"{check}: {shortfall}")
        self.check = check
        self.shortfall = shortfall


class Unavailable(CloisterError):
    """A peer or a resource cannot serve now; the same call may succeed later."""

    exit_code = 4
    status = 503
    retry = True
