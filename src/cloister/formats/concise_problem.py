"""Concise problem details (RFC 9290): what went wrong, in CBOR, as SCITT's API wants it."""

from __future__ import annotations

from typing import Final

import cbor2

MEDIA_TYPE: Final = "application/concise-problem-details+cbor"
TITLE, DETAIL = -1, -2


def encode_problem(title: str, detail: str) -> bytes:
    """A problem; nothing in it quotes what was sent."""
    return cbor2.dumps({TITLE: title, DETAIL: detail}, canonical=True)
