"""JSON of both sides of the adapter: what stands in it can be written again, and read by any client.

Python's own reader takes `NaN`, `Infinity` and whole numbers up to 4,300 digits, of which a sum cannot be written. It
makes 72 bytes of each `[]`, and some hundred of each member, so a request's are counted before it reads any.

Source: RFC 8259, sections 6 (numbers) and 8.1 (UTF-8).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final

MAXIMUM_DEPTH: Final = 64
MAXIMUM_ELEMENTS: Final = 1_000_000  # of all lists, and members of all objects
MAXIMUM_STRUCTURE: Final = 100_000  # lists, objects, and members of objects
_MOST_DIGITS: Final = 40  # of a whole number, with its sign: 128 bits
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_STRUCTURE: Final = b"[{:"
# A string takes along the comma or colon that follows it, so that each match is one thing that the reader would make.
# Nothing in it is tried twice, whatever the bytes; only characters are repeated possessively, see `hosting.http_head`.
_MARK: Final = re.compile(rb'[\[{:,]|"[^"]*+"?[ \t\r\n]*+[,:]?')


def is_too_much(body: bytes) -> bool:
    """Whether `body` has more elements or more structure than any request needs, in linear time and one copy."""
    if body.count(b",") < MAXIMUM_ELEMENTS and sum(map(body.count, _STRUCTURE)) < MAXIMUM_STRUCTURE:
        return False  # nor would it be with all that stands in strings
    elements = structure = 0
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")  # a quote ends a string, now that none is escaped
    for mark in _MARK.finditer(plain):
        if plain[mark.end() - 1] in _STRUCTURE:
            structure += 1
        else:
            elements += 1
        if elements > MAXIMUM_ELEMENTS or structure > MAXIMUM_STRUCTURE:
            return True
    return False


def parse_json(body: bytes, *, members: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None) -> Any:
    """The value in `body`; `members` makes an object of its members.

    Raises:
        ValueError: not JSON in UTF-8, a number that is not finite, a whole one of over 40 digits, or over 64 levels.
    """
    try:
        found = json.loads(
            body.decode(),
            object_pairs_hook=members,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_whole,
        )
        deep = _depth(found) > MAXIMUM_DEPTH
    except RecursionError as error:
        raise ValueError("nested deeper than anything is") from error
    if deep:
        raise ValueError(f"nested deeper than {MAXIMUM_DEPTH} levels")
    return found


def has_lone_surrogate(value: Any) -> bool:
    """Whether a text in `value`, which is not nested deep, is none: half of a pair, which no UTF-8 can write."""
    if isinstance(value, str):
        return not value.isascii() and _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(map(has_lone_surrogate, value)) or any(map(has_lone_surrogate, value.values()))
    return isinstance(value, list) and any(map(has_lone_surrogate, value))


def _depth(value: Any) -> int:
    """How deep objects and lists are nested; raises RecursionError where that is beyond all bounds."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number


def _whole(written: str) -> int:
    if len(written) > _MOST_DIGITS:
        raise ValueError(f"a whole number of over {_MOST_DIGITS} digits")
    return int(written)


def _no_number(_text: str) -> Any:
    raise ValueError("no number")
