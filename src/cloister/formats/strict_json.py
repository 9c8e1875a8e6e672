"""JSON that can be read in one way only: for objects that are signed as text and judged by their members.

JSON libraries differ over a member that comes twice (the first, the last, both), over numbers that do not fit and over
words that are no JSON at all. Two readers of one signed object would then see two objects; here such text is refused.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from cloister.errors import MalformedInput, TooLarge


def parse_strict_json(data: bytes, *, limit: int, fractions: bool = False) -> Any:
    """The value of the JSON text `data` (RFC 8259): UTF-8, members once each, whole numbers without `fractions`.

    Raises:
        TooLarge: `data` is longer than `limit` bytes; nothing was parsed.
        MalformedInput: not JSON, a member comes twice, a fraction or exponent, or nesting deeper than Python's reader.
    """
    if len(data) > limit:
        raise TooLarge(f"{len(data)} bytes of JSON, the cap is {limit}")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once,
            parse_float=float if fractions else _no_fraction,
            parse_constant=_no_fraction,
        )
    except MalformedInput:
        raise
    except (ValueError, RecursionError) as error:  # what json raises, and numbers of too many digits
        raise MalformedInput("not JSON in UTF-8") from error


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise MalformedInput("a member comes twice: readers differ over which of them counts")
    return found


def _no_fraction(_text: str) -> NoReturn:
    raise MalformedInput("a number that is not a whole one")
