"""Secrets that one KMS instance hands to another: request, entry, reply, what is wrapped (docs/formats/handover.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Name, PublicKey, Seconds
from cloister.formats.release import MAXIMUM_SENT

MAXIMUM_SECRETS = 64  # of one handover
MAXIMUM_HANDOVER_REQUEST = MAXIMUM_SENT + 8192  # bytes
MAXIMUM_HANDOVER_REPLY = 131_072  # bytes
HANDOVER_INFO = b"cloister handover v1"  # of the wrap; its associated data is the SHA-256 of the entry

SecretKind = Literal["epoch", "root"]


class NamedSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A secret without its value: what it is, and the SHA-256 of the entry that brought it into the log."""

    kind: SecretKind
    name: Digest


class HandedSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A secret with its value. Of an epoch: the seed of its transport key; of a root: itself; 32 bytes."""

    kind: SecretKind
    name: Digest
    secret: Annotated[bytes, msgspec.Meta(min_length=32, max_length=64)]

    @property
    def named(self) -> NamedSecret:
        """The same without its value."""
        return NamedSecret(kind=self.kind, name=self.name)

    def __repr__(self) -> str:
        """Without its value: no error, log or traceback shows it."""
        return f"<HandedSecret {self.kind} {self.name.hex()[:16]}…>"


Named = Annotated[tuple[NamedSecret, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_SECRETS)]


class HandoverRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a KMS instance asks of another: these secrets, with evidence that answers the other's challenge."""

    version: Literal[1] = 1
    constitution: Digest  # in force, as the asker has verified it; the evidence binds it
    wants: Named
    evidence: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_SENT)]


class Handover(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Secrets go to another instance. Signed by the one that gives them."""

    version: Literal[1] = 1
    constitution: Digest  # in force; the receiver's evidence binds it
    to: PublicKey  # of the instance that receives them
    secrets: Named
    evidence: Digest  # SHA-256 of the receiver's; the bytes are in the ledger's blob store
    checks: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=256)]  # ids of the steps that passed
    at: Seconds


class HandoverReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The logged handover with a checkpoint that covers it, and the secrets wrapped to the asker's X-Wing key."""

    version: Literal[1] = 1
    entry: Annotated[bytes, msgspec.Meta(min_length=1, max_length=65_535)]
    checkpoint: Annotated[bytes, msgspec.Meta(min_length=1, max_length=16_384)]
    wrapped: Annotated[bytes, msgspec.Meta(min_length=1, max_length=16_384)]


class HandedOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is wrapped: every secret that the entry names, in its order."""

    version: Literal[1] = 1
    secrets: Annotated[tuple[HandedSecret, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_SECRETS)]


def parse_handover_request(data: bytes) -> HandoverRequest:
    """Parse what an instance asks, at most 520 KiB."""
    return canonical.decode(data, HandoverRequest, limit=MAXIMUM_HANDOVER_REQUEST, items=512)


def parse_handover(data: bytes) -> Handover:
    """Parse the payload of a `handover` statement, at most 16 KiB."""
    return canonical.decode(data, Handover, limit=16_384)


def parse_handover_reply(data: bytes) -> HandoverReply:
    """Parse what is answered, at most 128 KiB."""
    return canonical.decode(data, HandoverReply, limit=MAXIMUM_HANDOVER_REPLY)


def parse_handed_over(data: bytes) -> HandedOver:
    """Parse what was wrapped, at most 16 KiB."""
    return canonical.decode(data, HandedOver, limit=16_384)
