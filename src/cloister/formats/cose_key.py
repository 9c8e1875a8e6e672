"""COSE keys of Ed25519 (RFC 9053 section 7.2), as a log gives out its own."""

from __future__ import annotations

from typing import Final

import cbor2

from cloister.formats.foreign_cose import EDDSA

KTY, KID, ALG, CRV, X = 1, 2, 3, -1, -2
OKP: Final = 1
ED25519: Final = 6


def encode_cose_key(public: bytes) -> bytes:
    """The key, named by its own 32 bytes."""
    return cbor2.dumps(_key(public), canonical=True)


def encode_cose_key_set(*keys: bytes) -> bytes:
    """A COSE_KeySet (RFC 9052 section 7)."""
    return cbor2.dumps([_key(public) for public in keys], canonical=True)


def _key(public: bytes) -> dict[int, object]:
    return {KTY: OKP, KID: public, ALG: EDDSA, CRV: ED25519, X: public}
