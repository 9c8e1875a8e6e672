"""Bytes that must not be shown: keys, seeds, tokens."""

from __future__ import annotations

import hmac
from typing import NoReturn, final


@final
class SecretBytes:
    """Holds a secret; every use of its value reads `.reveal()`, so that one search finds them all.

    It prints its length, compares in constant time, cannot be hashed, copied into a pickle, or formatted.
    """

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # a hash would tell about the value

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """The secret itself. Keep it out of names that outlive the call."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return f"<SecretBytes, {len(self)} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SecretBytes is never pickled or copied")

    def __format__(self, _spec: str) -> NoReturn:
        raise TypeError("a SecretBytes is never formatted; use repr() to show its length")
