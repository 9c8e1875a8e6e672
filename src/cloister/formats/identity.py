"""Identities of nodes for TLS, and the authorities that issue them (docs/formats/identity.md)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from cloister.formats import canonical
from cloister.formats.canonical import Digest, Name, Seconds
from cloister.formats.custody import Generation
from cloister.formats.evidence import NodeKeys, Role
from cloister.formats.key_bundle import EntryBytes, Note, ProofPath
from cloister.formats.release import MAXIMUM_SENT

IDENTITY_KEY_TYPE: Final = "application/vnd.cloister.identity-key+cbor"
MAXIMUM_AUTHORITIES: Final = 8  # of a line that count at once
MAXIMUM_CERTIFICATE: Final = 4096  # bytes in DER
MAXIMUM_IDENTITY_REPLY: Final = 128 * 1024  # bytes
BACKDATED: Final = 60  # seconds: a peer whose clock is so far behind takes a new certificate
SHORTEST_LIFE: Final = 2  # seconds, after that
LONGEST_LIFE: Final = 86_400

Certificate = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_CERTIFICATE)]
Serial = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]  # big-endian; the first bit is 0, the second 1
Authorities = Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_AUTHORITIES)]
Signed = Annotated[bytes, msgspec.Meta(min_length=1, max_length=2048)]
Proof = Annotated[bytes, msgspec.Meta(min_length=8, max_length=72)]  # of possession: ECDSA by the key over `key`


class Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The certificate of the authority that a line's root secret derives. Signed by a KMS instance that holds it."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    generation: Generation
    root: Digest  # SHA-256 of the entry of the root of that generation
    certificate: Certificate  # self-signed
    at: Seconds


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A certificate is about to be issued to a node. Signed by the KMS instance, before the certificate is."""

    version: Literal[1] = 1
    contract: Digest  # the contract in force, whose digest the node's evidence binds
    role: Role
    node: NodeKeys
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]  # SPIFFE
    key: Signed  # an `IdentityKey`, as the node signed it
    proof: Proof
    serial: Serial
    not_before: Seconds
    not_after: Seconds
    authorities: Authorities  # SHA-256 of the entries of those that count, the issuing one first
    evidence: Digest  # SHA-256 of the evidence; the bytes are in the ledger's blob store
    checks: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=256)]  # ids of the steps that passed
    at: Seconds


class IdentityKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The key for which a node wants a certificate. COSE_Sign1 by the node's signing key, which its evidence binds."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    challenge: Digest  # the one in the evidence
    key: Annotated[bytes, msgspec.Meta(min_length=91, max_length=91)]  # SubjectPublicKeyInfo of a P-256 key, DER


class IdentityRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a node asks of the KMS: a certificate, with evidence that answers the KMS's challenge."""

    version: Literal[1] = 1
    contract: Digest  # the first contract of the line
    evidence: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAXIMUM_SENT)]
    key: Signed  # an `IdentityKey`
    proof: Proof


class IdentityReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The logged identity with its proof, the certificate, and the entries of the authorities that it names."""

    version: Literal[1] = 1
    entry: EntryBytes
    index: Annotated[int, msgspec.Meta(ge=0)]
    path: ProofPath
    checkpoint: Note
    certificate: Certificate
    authorities: Annotated[tuple[EntryBytes, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_AUTHORITIES)]


def parse_authority(data: bytes) -> Authority:
    """Parse the payload of an `authority` statement."""
    return canonical.decode(data, Authority, limit=8192, items=64)


def parse_identity(data: bytes) -> Identity:
    """Parse the payload of an `identity` statement."""
    return canonical.decode(data, Identity, limit=16_384, items=512)


def parse_identity_key(data: bytes) -> IdentityKey:
    """Parse what a node signs of its TLS key."""
    return canonical.decode(data, IdentityKey, limit=1024, items=16)


def parse_identity_request(data: bytes) -> IdentityRequest:
    """Parse what a node sends to the KMS, at most 516 KiB."""
    return canonical.decode(data, IdentityRequest, limit=MAXIMUM_SENT + 4096, items=64)


def parse_identity_reply(data: bytes) -> IdentityReply:
    """Parse what the KMS answers, at most 128 KiB."""
    return canonical.decode(data, IdentityReply, limit=MAXIMUM_IDENTITY_REPLY, items=256)
