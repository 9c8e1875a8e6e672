"""What a KMS and its callers exchange about custody: intake keys, requests for assets (docs/formats/custody.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Name, Seconds
from cloister.formats.custody import MAXIMUM_SEALED, Generation
from cloister.formats.key_bundle import EntryBytes, LoggedEntry, Note, ProofPath
from cloister.formats.release import MAXIMUM_SENT

INTAKE_TYPE = "application/vnd.cloister.intake+cbor"
MAXIMUM_INTAKE = 80 * 1024  # bytes
MAXIMUM_ASSETS = 16  # that one request names
MAXIMUM_CARRIED = 136 * 1024  # bytes
MAXIMUM_ASSET_REPLY = 2 * 1024 * 1024  # bytes


class IntakeHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A KMS instance's word on the latest root of a contract line, at a checkpoint. COSE_Sign1 by its signing key."""

    version: Literal[1] = 1
    checkpoint: Digest  # SHA-256 of the cosigned note
    contract: Digest  # the first contract of the line
    root: Digest  # SHA-256 of the root's entry
    generation: Generation
    held: bool  # whether this instance holds the secret: if not, nothing sealed to the key opens before its recovery
    at: Seconds


class Intake(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The latest root with its proof, and the head that says so. `trust.intake` examines it."""

    version: Literal[1] = 1
    checkpoint: Note
    root: LoggedEntry
    head: Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]


class CarriedDeposit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A deposit on its way to the log by hand: the signed entry, and what it is about, sealed."""

    version: Literal[1] = 1
    entry: EntryBytes
    blob: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_SEALED)]


class AssetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a node asks of the KMS: assets by name, with evidence that answers the KMS's challenge."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    assets: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_ASSETS)]
    evidence: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_SENT)]


class WrappedAsset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A deposit's entry, and its `Deposited` sealed to the node under `ASSET_INFO` and an `AssetSeal`."""

    deposit: EntryBytes
    wrapped: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_SEALED)]


class AssetReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The logged use with its proof, and the assets in the order in which they were asked for."""

    version: Literal[1] = 1
    entry: EntryBytes
    index: Annotated[int, msgspec.Meta(ge=0)]
    path: ProofPath
    checkpoint: Note
    assets: Annotated[tuple[WrappedAsset, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_ASSETS)]


def parse_intake(data: bytes) -> Intake:
    """Parse what a KMS says of a line's intake key, at most 80 KiB."""
    return canonical.decode(data, Intake, limit=MAXIMUM_INTAKE, items=256)


def parse_intake_head(data: bytes) -> IntakeHead:
    """Parse the payload of an intake head."""
    return canonical.decode(data, IntakeHead, limit=1024, items=64)


def parse_carried_deposit(data: bytes) -> CarriedDeposit:
    """Parse a carried deposit, at most 136 KiB."""
    return canonical.decode(data, CarriedDeposit, limit=MAXIMUM_CARRIED, items=16)


def parse_asset_request(data: bytes) -> AssetRequest:
    """Parse what a node sends to the KMS, at most 515 KiB."""
    return canonical.decode(data, AssetRequest, limit=MAXIMUM_SENT + 3072, items=128)


def parse_asset_reply(data: bytes) -> AssetReply:
    """Parse what the KMS answers, at most 2 MiB."""
    return canonical.decode(data, AssetReply, limit=MAXIMUM_ASSET_REPLY, items=256)
