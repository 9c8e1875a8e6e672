"""Signed statements: making entries, and opening them once every signature on them holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cloister.crypto.cose import open_parsed, sign1
from cloister.crypto.signing import SigningKey
from cloister.errors import MalformedInput
from cloister.formats import canonical
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.statement import Kind, Statement, content_type, parse_statement


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement all of whose signatures hold. Whether its signers may say it, others judge. Built only here."""

    kind: Kind
    payload: bytes
    signers: frozenset[bytes]  # Ed25519 public keys, 32 bytes each
    digest: bytes  # SHA-256 of the entry, 32 bytes: the statement's name elsewhere


def entry_digest(entry: bytes) -> bytes:
    """SHA-256 of an entry's bytes: how other records name it."""
    return hashlib.sha256(entry).digest()


def sign_statement(kind: Kind, record: msgspec.Struct, keys: Sequence[SigningKey]) -> bytes:
    """The entry in which the owners of `keys` say `record`. Signatures stand in the order of the keys' bytes."""
    payload = canonical.encode(record)
    ordered = sorted(keys, key=lambda key: key.public)
    signatures = tuple(sign1(key, payload, content_type=content_type(kind), detached=True) for key in ordered)
    return canonical.encode(Statement(kind=kind, payload=payload, signatures=signatures))


def open_statement(entry: bytes) -> SignedStatement:
    """Parse an entry and check every signature on it.

    Raises:
        TooLarge, MalformedInput: not an entry, or a key signs twice.
        BadSignature: a signature does not hold.
    """
    statement = parse_statement(entry)
    signers = [_signer(statement, signature) for signature in statement.signatures]
    if len(set(signers)) != len(signers):
        raise MalformedInput("a key signs twice")
    return SignedStatement(statement.kind, statement.payload, frozenset(signers), entry_digest(entry))


def _signer(statement: Statement, signature: bytes) -> bytes:
    message = CoseSign1.parse(signature)
    open_parsed(message, public=message.kid, content_type=content_type(statement.kind), payload=statement.payload)
    return message.kid
