"""What a contract line's root secret derives: the X-Wing key pair that owners seal to (docs/formats/custody.md)."""

from __future__ import annotations

from typing import Final

from cloister.crypto import hkdf
from cloister.crypto.kem import KemPrivateKey
from cloister.formats.hpke_suite import X_WING
from cloister.secret import SecretBytes

ROOT_SIZE: Final = 32  # bytes
_LABEL: Final = b"cloister root v1"


def intake_key(secret: SecretBytes, *, line: bytes, generation: int) -> KemPrivateKey:
    """The intake key of one generation of one contract line (32 bytes): always the same of the same secret."""
    info = b"intake" + line + generation.to_bytes(8, "big")
    seed = SecretBytes(hkdf.expand(hkdf.extract(_LABEL, secret.reveal()), info, ROOT_SIZE))
    return KemPrivateKey.from_bytes(X_WING, seed)
