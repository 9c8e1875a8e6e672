"""Constitutions: what a KMS is and may become (docs/formats/constitution.md)."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference
from cloister.formats.canonical import Count, Name, PublicKey, Seconds

Previous = Annotated[bytes, msgspec.Meta(max_length=32)]  # empty for the first; else the digest before


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The one log that counts, by its C2SP origin and Ed25519 key."""

    origin: Name
    key: PublicKey


class Witness(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A witness whose cosignatures count towards the quorum: by both keys, where it has two."""

    name: Name
    key: PublicKey
    # ML-DSA-44; absent where there is none, never written as empty: one constitution has one encoding
    ml_dsa: Annotated[bytes, msgspec.Meta(min_length=1312, max_length=1312)] = b""


class Constitution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The genesis has sequence 0 and no `previous`; its digest is the identity of the KMS for good."""

    version: Literal[1] = 1
    name: Name
    sequence: Count
    previous: Previous
    log: Log
    witnesses: Annotated[tuple[Witness, ...], msgspec.Meta(min_length=1, max_length=32)]
    quorum: Annotated[int, msgspec.Meta(ge=1, le=32)]
    kms: RoleReference
    appraisal: AppraisalPolicy
    amenders: Annotated[tuple[PublicKey, ...], msgspec.Meta(min_length=1, max_length=32)]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=32)]
    notice_seconds: Seconds
    local: bool

    def digest(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()


def parse_constitution(data: bytes) -> Constitution:
    """Parse the payload of a `constitution` statement."""
    return canonical.decode(data, Constitution, limit=60_000)
