"""Numbers and sizes of the HPKE algorithms Cloister uses. What computes with them is `cloister.crypto.hpke`.

Sources: RFC 9180 section 7; for X-Wing draft-connolly-cfrg-xwing-kem, whose KEM id 0x647A is in IANA's HPKE registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

X25519_HKDF_SHA256: Final = 0x0020
X_WING: Final = 0x647A
KDF_HKDF_SHA256: Final = 0x0001
AEAD_AES_128_GCM: Final = 0x0001

HASH_SIZE: Final = 32  # Nh, bytes
KEY_SIZE: Final = 16  # Nk, bytes
NONCE_SIZE: Final = 12  # Nn, bytes
TAG_SIZE: Final = 16  # Nt, bytes


class KemSizes(NamedTuple):
    """Bytes of a KEM's private key, public key and encapsulated key (Nsk, Npk, Nenc)."""

    secret: int
    public: int
    enc: int


class SymmetricSuite(NamedTuple):
    """The KDF and AEAD that go with a KEM, by their registry numbers."""

    kdf: int
    aead: int


KEMS: Final[Mapping[int, KemSizes]] = MappingProxyType(
    {X25519_HKDF_SHA256: KemSizes(32, 32, 32), X_WING: KemSizes(32, 1216, 1120)}
)
SYMMETRIC_SUITE: Final = SymmetricSuite(KDF_HKDF_SHA256, AEAD_AES_128_GCM)
