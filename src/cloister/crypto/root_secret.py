"""What a line's root secret derives: its intake key (docs/formats/custody.md), its authority's (identity.md)."""

from __future__ import annotations

from typing import Final

from cloister.crypto import hkdf
from cloister.crypto.kem import KemPrivateKey
from cloister.crypto.p256 import SEED_SIZE, P256Key
from cloister.formats.hpke_suite import X_WING
from cloister.secret import SecretBytes

ROOT_SIZE: Final = 32  # bytes
_LABEL: Final = b"cloister root v1"


def intake_key(secret: SecretBytes, *, line: bytes, generation: int) -> KemPrivateKey:
    """The intake key of one generation of one contract line (32 bytes): always the same of the same secret."""
    info = b"intake" + line + generation.to_bytes(8, "big")
    seed = SecretBytes(hkdf.expand(hkdf.extract(_LABEL, secret.reveal()), info, ROOT_SIZE))
    return KemPrivateKey.from_bytes(X_WING, seed)


def authority_key(secret: SecretBytes, *, line: bytes, generation: int) -> P256Key:
    """The P-256 key of one generation's authority of a contract line: always the same of the same secret."""
    info = b"authority" + line + generation.to_bytes(8, "big")
    return P256Key.from_seed(hkdf.expand(hkdf.extract(_LABEL, secret.reveal()), info, SEED_SIZE))
