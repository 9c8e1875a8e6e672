"""Sealing to a platform: a key that comes back only to the same code, on the same machine, for the same purpose."""

from __future__ import annotations

from typing import Final

from cloister.crypto import hkdf
from cloister.secret import SecretBytes

_LABEL: Final = b"cloister sealing v1"


def sealing_key(platform: SecretBytes, *, workload: bytes, context: bytes) -> SecretBytes:
    """32 bytes from a platform's own secret, this workload measurement (48 bytes), and what they are for."""
    fields = (_LABEL, workload, context)
    info = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return SecretBytes(hkdf.expand(hkdf.extract(_LABEL, platform.reveal()), info, 32))
