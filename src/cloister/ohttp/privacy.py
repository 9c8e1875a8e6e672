"""How much lengths and times may tell: the level that a client asks for, inside its sealed request."""

from __future__ import annotations

from typing import Final, Literal, get_args

from cloister.errors import UsageError
from cloister.formats.binary_http import Fields

Privacy = Literal["standard", "strict"]
LEVELS: Final[tuple[Privacy, ...]] = get_args(Privacy)

STANDARD: Final[Privacy] = "standard"  # lengths are padded; a stream goes as it is made
STRICT: Final[Privacy] = "strict"  # the answer comes in records (docs/formats/answer-records.md)
PRIVACY_HEADER: Final = "cloister-privacy"  # of the inner request; absent, it is standard


def require_level(name: str) -> None:
    """Let a level through.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in LEVELS:
        raise UsageError(f"there is no privacy {name!r}: it is {' or '.join(LEVELS)}")


def privacy_of(headers: Fields) -> Privacy:
    """The level that a request asks for.

    Raises:
        UsageError: it asks for something else: what was not understood is not answered with less.
    """
    values = [value for name, value in headers if name == PRIVACY_HEADER]
    if not values:
        return STANDARD
    if values != [STRICT]:
        raise UsageError(f"{PRIVACY_HEADER} is given once, as {STRICT}, or not at all")
    return STRICT


def require_standard(headers: Fields) -> None:
    """Let a request pass that came in one message, to be answered in one.

    Raises:
        UsageError: it asks for more than one message can give.
    """
    if privacy_of(headers) != STANDARD:
        raise UsageError("strict privacy is for requests that come in chunks, since their answers do")
