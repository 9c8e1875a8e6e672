"""A whole Binary HTTP request in a buffer whose owner wipes it: the head is read, the content is not copied.

The rules, and what is refused, are those of `binary_http.decode_request`; a property holds this against it. Of two
faults in a message it may name the other one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cloister.errors import MalformedInput, TooLarge
from cloister.formats import varint
from cloister.formats.binary_http import (
    MAXIMUM_BODY,
    MAXIMUM_FIELDS,
    MAXIMUM_SECTION,
    Fields,
    check_control,
    check_fields,
    check_pieces,
)
from cloister.formats.varint import CutShort

_BLOCK: Final = 65_536
_ZEROS: Final = bytes(_BLOCK)


class ViewedRequest(NamedTuple):
    """A valid request, without its trailers; a tuple, for `Request` takes six times as long to make."""

    method: str
    scheme: str
    authority: str
    path: str
    headers: Fields
    body: list[memoryview]  # its pieces in their order


def view_request(data: memoryview, *, body_limit: int = MAXIMUM_BODY) -> ViewedRequest:
    """The request that `data` holds, truncated or padded as section 3.8 allows; its body are views of `data`.

    Raises:
        TooLarge: a section, or the body, is over its cap.
        MalformedInput: anything else that is not a valid request.
    """
    framing, at = _integer(data, 0)
    if framing not in (0, 2):
        raise MalformedInput(f"framing indicator {framing} is not a request's")
    (method, scheme, authority, path), at = _texts(data, at, 4)
    headers, at = _fields(data, at, known=framing == 0)
    pieces, at = _content(data, at, body_limit, known=framing == 0)
    trailers, at = _fields(data, at, known=framing == 0)
    _require_zeros(data[at:])
    check_control(method, scheme, authority, path)
    check_fields(headers)
    if trailers:
        check_fields(trailers)
    # Half the time of ViewedRequest(…), whose __new__ is a function of Python's.
    return tuple.__new__(ViewedRequest, (method, scheme, authority, path, headers, pieces))


def _integer(data: memoryview, at: int) -> tuple[int, int]:
    if at < len(data) and (value := data[at]) < 1 << 6:  # most are
        return value, at + 1
    return varint.decode(data, at)


def _texts(data: memoryview, at: int, count: int) -> tuple[list[str], int]:
    """So many texts behind their lengths, and where they end."""
    texts = []
    for _ in range(count):
        size, at = _integer(data, at)
        if size > MAXIMUM_SECTION:
            raise TooLarge(f"{size} bytes of text, the cap is {MAXIMUM_SECTION}")
        start, at = at, at + size
        if at > len(data):
            raise CutShort("the message is cut short")
        texts.append(str(data[start:at], "latin-1"))
    return texts, at


def _taken(data: memoryview, at: int, size: int) -> memoryview:
    if at + size > len(data):
        raise CutShort("the message is cut short")
    return data[at : at + size]


def _fields(data: memoryview, at: int, *, known: bool) -> tuple[Fields, int]:
    """One field section, and where it ends; a message may end before it, and then it is empty."""
    if at == len(data):
        return (), at
    if not known:
        return _lines(data, at)
    size, at = _integer(data, at)
    if size > MAXIMUM_SECTION:
        raise TooLarge(f"a field section of {size} bytes, the cap is {MAXIMUM_SECTION}")
    return _section(str(_taken(data, at, size), "latin-1")), at + size


def _section(text: str) -> Fields:
    """The lines of a section of known length: one character a byte, lengths too."""
    parts: list[str] = []
    at, end = 0, len(text)
    while at < end:
        size = ord(text[at])
        start = at + 1
        if size >= 1 << 6:
            size, start = _long(text, at)
        at = start + size
        parts.append(text[start:at])
    names, values = parts[::2], parts[1::2]
    if at > end or len(names) != len(values):
        raise MalformedInput("a field section ends within a field")
    if "" in names:
        raise MalformedInput("a field section holds a name without characters")
    if len(names) > MAXIMUM_FIELDS:
        raise TooLarge(f"more than {MAXIMUM_FIELDS} fields in one section")
    return tuple(zip(names, values, strict=True))


def _long(text: str, at: int) -> tuple[int, int]:
    """An integer of more than one byte."""
    try:
        return varint.decode(text[at : at + 8].encode("latin-1"), 0)[0], at + (1 << (ord(text[at]) >> 6))
    except CutShort as error:
        raise MalformedInput("a field section ends within a field") from error


def _lines(data: memoryview, at: int) -> tuple[Fields, int]:
    """Field lines up to their terminator."""
    lines: list[tuple[str, str]] = []
    start = at
    while True:
        size, after = _integer(data, at)
        if not size:
            return tuple(lines), after
        if len(lines) == MAXIMUM_FIELDS:
            raise TooLarge(f"more than {MAXIMUM_FIELDS} fields in one section")
        (name, value), at = _texts(data, at, 2)
        lines.append((name, value))
        if at - start > MAXIMUM_SECTION:
            raise TooLarge(f"a field section of more than {MAXIMUM_SECTION} bytes")


def _content(data: memoryview, at: int, limit: int, *, known: bool) -> tuple[list[memoryview], int]:
    pieces: list[memoryview] = []
    if at == len(data):
        return pieces, at
    while True:
        size, at = _integer(data, at)
        if size > limit:
            raise TooLarge(f"the body is {size - limit} bytes or more over its cap")
        if size:
            pieces.append(_taken(data, at, size))
            limit -= size
            at += size
            check_pieces(len(pieces))
        if known or not size:
            return pieces, at


def _require_zeros(padding: memoryview) -> None:
    """RFC 9292 section 3.8: "Non-zero padding bytes cause a message to be invalid"."""
    if not padding:
        return
    for at in range(0, len(padding), _BLOCK):
        block = bytes(padding[at : at + _BLOCK])
        if block != _ZEROS[: len(block)]:
            raise MalformedInput("the padding is not zero")
