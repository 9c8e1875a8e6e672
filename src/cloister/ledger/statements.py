"""Signed statements: making entries, and opening them once every signature on them holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from cloister.crypto.cose import open_parsed, sign1
from cloister.crypto.signing import BadSignature, SigningKey
from cloister.errors import MalformedInput, TooLarge
from cloister.formats import canonical
from cloister.formats.cose_sign1 import CoseSign1
from cloister.formats.statement import Kind, Statement, content_type, parse_statement

A = TypeVar("A")
B = TypeVar("B")


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


def cosigned_statement(entries: Sequence[bytes]) -> bytes:
    """One entry with the signatures of all `entries`, which say the same: parties sign apart, the log takes it once.

    Raises:
        TooLarge, MalformedInput: one is no entry, or they do not all say the same.
        BadSignature: a signature does not hold.
    """
    if len({(one.kind, one.payload) for one in map(open_statement, entries)}) != 1:
        raise MalformedInput("the signatures are not on one and the same text")
    statements = [parse_statement(entry) for entry in entries]
    by_signer = {CoseSign1.parse(signature).kid: signature for one in statements for signature in one.signatures}
    ordered = tuple(signature for _, signature in sorted(by_signer.items()))
    return canonical.encode(msgspec.structs.replace(statements[0], signatures=ordered))


def open_statement(entry: bytes) -> SignedStatement:
    """Parse an entry and check every signature on it.

    Raises:
        TooLarge, MalformedInput: not an entry, or a key signs twice.
        BadSignature: a signature does not hold.
    """
    return _parsed(entry).checked()


Opened = SignedStatement | TooLarge | MalformedInput | BadSignature


def open_statements(entries: Sequence[bytes]) -> list[Opened]:
    """Each as `open_statement` opens it, or what that would raise.

    All are parsed before the first signature is checked. Other threads run while a signature is checked and not while
    one is parsed: so they meet at the interpreter's lock once, and not at every entry.
    """
    parsed = [_caught(_parsed, entry) for entry in entries]
    return [_caught(_Parsed.checked, one) if isinstance(one, _Parsed) else one for one in parsed]


@dataclass(frozen=True, slots=True)
class _Parsed:
    """An entry whose signatures are not checked yet."""

    statement: Statement
    signatures: tuple[CoseSign1, ...]
    entry: bytes

    def checked(self) -> SignedStatement:
        kind, payload = self.statement.kind, self.statement.payload
        for one in self.signatures:
            open_parsed(one, public=one.kid, content_type=content_type(kind), payload=payload)
        signers = frozenset(one.kid for one in self.signatures)
        if len(signers) != len(self.signatures):
            raise MalformedInput("a key signs twice")
        return SignedStatement(kind, payload, signers, entry_digest(self.entry))


def _parsed(entry: bytes) -> _Parsed:
    statement = parse_statement(entry)
    return _Parsed(statement, tuple(CoseSign1.parse(one) for one in statement.signatures), entry)


def _caught(action: Callable[[A], B], given: A) -> B | TooLarge | MalformedInput | BadSignature:
    try:
        return action(given)
    except (TooLarge, MalformedInput, BadSignature) as error:
        return error
