"""Signed statements: what a ledger entry is (docs/formats/statement.md).

An entry is the deterministic CBOR of one `Statement`: a payload, its kind, and detached COSE_Sign1 signatures
(RFC 9052 section 4.2) of everyone who makes the claim. Each signature covers the payload under a content type that
names the kind, so that no signature can be carried from one kind of statement to another.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

import msgspec

from cloister.formats import canonical

MAXIMUM_ENTRY = 65_535  # bytes; C2SP tlog-tiles length-prefixes entries with 16 bits

CustodyKind = Literal["root", "deposit", "use", "recovery", "rotation", "retirement"]
GoverningKind = Literal["time", "vote"]
IdentityKind = Literal["authority", "identity"]
Kind = (
    Literal["constitution", "contract", "kms", "epoch", "release", "revocation", "refusal", "handover", "model"]
    | GoverningKind
    | CustodyKind
    | IdentityKind
)
Payload = Annotated[bytes, msgspec.Meta(min_length=1, max_length=60_000)]
Signature = Annotated[bytes, msgspec.Meta(min_length=1, max_length=512)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of the ledger. Its signatures are not checked yet; `ledger.statements` does that."""

    version: Literal[1] = 1
    kind: Kind
    payload: Payload  # the deterministic CBOR of the kind's record
    signatures: Annotated[tuple[Signature, ...], msgspec.Meta(min_length=1, max_length=16)]


def content_type(kind: str) -> str:
    """The COSE content type of a signature over a statement of this kind."""
    return f"application/vnd.cloister.{kind}+cbor"


def parse_statement(entry: bytes) -> Statement:
    """Parse an entry, at most 65,535 bytes.

    Raises:
        TooLarge, MalformedInput: not an entry.
    """
    return canonical.decode(entry, Statement, limit=MAXIMUM_ENTRY)


def is_of_kind(entry: bytes, *kinds: Kind) -> bool:
    """Whether an entry that parses is of one of these kinds, by its first bytes alone: `kind` sorts first."""
    return entry.startswith(_beginnings(*kinds))


@cache
def _beginnings(*kinds: Kind) -> tuple[bytes, ...]:
    return tuple(map(_beginning, kinds))


def _beginning(kind: Kind) -> bytes:
    return b"\xa4dkind" + bytes([0x60 | len(kind)]) + kind.encode()  # the head of a CBOR text of up to 23 bytes
