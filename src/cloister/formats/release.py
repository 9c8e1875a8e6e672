"""What a KMS says of itself: instances, epochs, releases, revocations (docs/formats/release.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Name, Seconds
from cloister.formats.constitution import Previous
from cloister.formats.evidence import MAXIMUM_EVIDENCE, NodeKeys, Role

EvidenceBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_EVIDENCE)]
MAXIMUM_SENT = 512 * 1024  # bytes of evidence that a node sends: of a CPU and 16 devices
KeyConfigBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]
WrappedKey = Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]
EpochNumber = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


class KmsInstance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A KMS process came up: its keys, under evidence that anyone can examine again. Signed by `keys.sign`."""

    version: Literal[1] = 1
    constitution: Digest  # the one in force, whose digest the evidence binds
    evidence: EvidenceBytes
    at: Seconds  # when its evidence is judged: the time of the cosigned checkpoint that it answers


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A transport key was born. Signed by the KMS instance that holds it."""

    version: Literal[1] = 1
    contract: Digest  # the contract in force; a successor begins a new epoch
    number: EpochNumber  # counts on through all contracts of the line
    previous: Previous  # SHA-256 of the entry of the epoch before; empty for number 1
    key_config: KeyConfigBytes  # one RFC 9458 key configuration
    not_before: Seconds
    not_after: Seconds  # clients stop choosing it
    stale_until: Seconds  # gateways stop opening with it; the key is erased


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A transport key goes to a node, and the node's signing key is certified with it. Signed by the KMS instance."""

    version: Literal[1] = 1
    contract: Digest  # the contract in force, whose digest the node's evidence binds
    role: Role
    epoch: Digest  # SHA-256 of the epoch's entry
    node: NodeKeys
    evidence: Digest  # SHA-256 of the evidence; the bytes are in the ledger's blob store
    checks: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=256)]  # ids of the steps that passed
    at: Seconds


class Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An epoch, a release, a node, or the contract itself stops counting. Signed by a party of the contract."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    target: Digest  # SHA-256 of the entry revoked; a node's thumbprint; `contract` again for all of the line
    reason: Name


class ReleaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a node asks of the KMS: a key for its contract, with evidence that answers the KMS's challenge."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    key_id: Annotated[int, msgspec.Meta(ge=0, le=255)]
    evidence: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_SENT)]


class ReleaseReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The logged release with its proof, and the transport key wrapped to the node's X-Wing key.

    The wrap's `info` is `b"cloister release v1"`, its associated data the SHA-256 of the release's entry.
    """

    version: Literal[1] = 1
    entry: bytes
    index: Annotated[int, msgspec.Meta(ge=0)]
    path: tuple[Digest, ...]
    checkpoint: bytes
    epoch_entry: bytes
    wrapped: WrappedKey


WRAP_INFO = b"cloister release v1"


def parse_kms_instance(data: bytes) -> KmsInstance:
    """Parse the payload of a `kms` statement."""
    return canonical.decode(data, KmsInstance, limit=61_000)


def parse_epoch(data: bytes) -> Epoch:
    """Parse the payload of an `epoch` statement."""
    return canonical.decode(data, Epoch, limit=8192)


def parse_release(data: bytes) -> Release:
    """Parse the payload of a `release` statement."""
    return canonical.decode(data, Release, limit=16_384)


def parse_revocation(data: bytes) -> Revocation:
    """Parse the payload of a `revocation` statement."""
    return canonical.decode(data, Revocation, limit=1024)


def parse_release_request(data: bytes) -> ReleaseRequest:
    """Parse what a node sends to the KMS, at most 513 KiB."""
    return canonical.decode(data, ReleaseRequest, limit=MAXIMUM_SENT + 1024, items=64)


def parse_release_reply(data: bytes) -> ReleaseReply:
    """Parse what the KMS answers, at most 256 KiB."""
    return canonical.decode(data, ReleaseReply, limit=262_144)
