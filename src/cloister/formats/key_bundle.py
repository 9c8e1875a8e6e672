"""Key bundles: everything a client examines before it encrypts, the same bytes for all (docs/formats/key-bundle.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Count, Digest, PublicKey, Seconds
from cloister.formats.checkpoint import MAXIMUM_NOTE
from cloister.formats.release import EpochNumber, EvidenceBytes

MAXIMUM_BUNDLE = 4 * 1024 * 1024  # bytes
PROVEN_SIZES = 32  # a bundle proves consistency from each of the last sizes
STATE_HEAD_TYPE = "application/vnd.cloister.state-head+cbor"

Note = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_NOTE)]
EntryBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=65_535)]
ProofPath = Annotated[tuple[Digest, ...], msgspec.Meta(max_length=64)]


class LoggedEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry and its inclusion path (RFC 6962 section 2.1.1) under the bundle's checkpoint."""

    index: Count
    entry: EntryBytes
    path: ProofPath


class ConsistencyProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From an earlier published size to the bundle's (RFC 6962 section 2.1.2)."""

    size: Count
    path: ProofPath


class StateHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the ledger's entries up to the checkpoint add up to, said by a KMS instance: COSE_Sign1 by its key."""

    version: Literal[2] = 2
    checkpoint: Digest  # SHA-256 of the cosigned note
    constitution: Digest  # in force
    contract: Digest  # in force
    epoch: EpochNumber  # active
    shown: Digest  # of the epochs and releases that the bundle shows, all of them and in their order
    instances: Annotated[tuple[PublicKey, ...], msgspec.Meta(min_length=1, max_length=2048)]  # KMS instances
    revoked: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=4096)]
    at: Seconds  # the KMS's clock; the cosignatures are the time that counts


class KeyBundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Entries in their order in the log. Nothing in it is trusted until `trust.bundle` examined it."""

    version: Literal[1] = 1
    checkpoint: Note
    consistency: Annotated[tuple[ConsistencyProof, ...], msgspec.Meta(max_length=64)]
    constitutions: Annotated[tuple[LoggedEntry, ...], msgspec.Meta(min_length=1, max_length=1024)]
    contracts: Annotated[tuple[LoggedEntry, ...], msgspec.Meta(min_length=1, max_length=1024)]
    epochs: Annotated[tuple[LoggedEntry, ...], msgspec.Meta(min_length=1, max_length=8)]
    releases: Annotated[tuple[LoggedEntry, ...], msgspec.Meta(max_length=1024)]
    evidence: EvidenceBytes  # the KMS's; its challenge is the SHA-256 of the checkpoint's note
    head: Annotated[bytes, msgspec.Meta(min_length=1, max_length=262_144)]


def shown_digest(epochs: Iterable[bytes], releases: Iterable[bytes]) -> bytes:
    """What a state head says of the entries beside it: SHA-256 over the SHA-256 of each, epochs and releases apart.

    Without it, whoever passes a bundle on could put back what was revoked, or leave gateways out for some clients.
    """
    parts = [
        hashlib.sha256(b"".join(hashlib.sha256(entry).digest() for entry in part)).digest()
        for part in (epochs, releases)
    ]
    return hashlib.sha256(b"cloister shown v1" + b"".join(parts)).digest()


def parse_key_bundle(data: bytes) -> KeyBundle:
    """Parse a bundle, at most 4 MiB.

    Raises:
        TooLarge, MalformedInput: not a bundle.
    """
    return canonical.decode(data, KeyBundle, limit=MAXIMUM_BUNDLE)


def parse_state_head(data: bytes) -> StateHead:
    """Parse the payload of a state head."""
    return canonical.decode(data, StateHead, limit=262_144)
