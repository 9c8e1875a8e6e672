"""What a file may hold that was written down as text, or behind a header: for hints alone, nothing is taken so."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple

_HEADER: Final = 16  # bytes that something may put before evidence: lengths, kinds, versions


class Wrapped(NamedTuple):
    """One thing that a file may hold."""

    inner: bytes
    says: str  # how it is wrapped, with its name for {}, and how to get at it


def wrapped(data: bytes) -> Iterator[Wrapped]:
    """All that `data` may hold, the likeliest first."""
    yield from _text(data)
    for offset in range(1, min(_HEADER + 1, len(data))):
        header = f"{{}} begins at offset {offset}, behind the bytes {data[:offset].hex()}, such as a length"
        yield Wrapped(data[offset:], f"{header}: cut them off, with tail -c +{offset + 1} FILE")


def _text(data: bytes) -> Iterator[Wrapped]:
    if not data.isascii():
        return
    text = "".join(data.decode("ascii").split())
    with contextlib.suppress(ValueError):
        yield Wrapped(bytes.fromhex(text.removeprefix("0x")), "hexadecimal digits of {}: decode, with xxd -r -p FILE")
    padded = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        inner = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except binascii.Error:
        return
    yield Wrapped(inner, "Base64 of {}: decode it, with base64 -d FILE")
