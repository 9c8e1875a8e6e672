"""Constitutions: what a KMS is and may become (docs/formats/constitution.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.appraisal_policy import AppraisalPolicy, RoleReference
from cloister.formats.canonical import Count, Name, PublicKey
from cloister.formats.change_rules import ChangeRules

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


class Amender(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who has a say in what a KMS may become; any one of the keys signs for it."""

    name: Name
    keys: Annotated[tuple[PublicKey, ...], msgspec.Meta(min_length=1, max_length=8)]


class Constitution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The genesis has sequence 0 and no `previous`; its digest is the identity of the KMS for good."""

    version: Literal[2] = 2
    name: Name
    sequence: Count
    previous: Previous
    log: Log
    witnesses: Annotated[tuple[Witness, ...], msgspec.Meta(min_length=1, max_length=32)]
    quorum: Annotated[int, msgspec.Meta(ge=1, le=32)]
    kms: RoleReference
    appraisal: AppraisalPolicy
    amenders: Annotated[tuple[Amender, ...], msgspec.Meta(min_length=1, max_length=32)]
    changes: ChangeRules
    local: bool

    def digest(self) -> bytes:
        """SHA-256 of the deterministic encoding, 32 bytes."""
        return hashlib.sha256(canonical.encode(self)).digest()

    @property
    def voters(self) -> Mapping[str, frozenset[bytes]]:
        """The amenders' signing keys by their names."""
        return {amender.name: frozenset(amender.keys) for amender in self.amenders}


def parse_constitution(data: bytes) -> Constitution:
    """Parse the payload of a `constitution` statement."""
    return canonical.decode(data, Constitution, limit=60_000)
