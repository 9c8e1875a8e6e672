"""Signed statements of others (SCITT): what may be registered beside our own, and is void to every rule of ours.

The registration policy is a list of issuers with their keys. A statement has to name its issuer and subject, hold its
payload, have nothing unsigned, and be signed by one of the issuer's keys. Nothing of its payload is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cloister.crypto.signing import BadSignature
from cloister.crypto.verification_key import VerificationKey
from cloister.errors import CloisterError
from cloister.formats.cose_sign1 import sig_structure
from cloister.formats.foreign_cose import ISSUER, SUBJECT, ForeignSign1, parse_foreign_sign1
from cloister.formats.statement import MAXIMUM_ENTRY
from cloister.ledger.statements import open_statements

Issuers = Mapping[str, Sequence[VerificationKey]]
_TAG: Final = 6  # CBOR's major type
MAXIMUM_CLAIM: Final = 1024  # characters of an issuer or subject


class NotRegistered(CloisterError):
    """The registration policy does not take the statement; `title` is SCRAPI's word for why."""

    status = 400

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(detail)
        self.title = title


@dataclass(frozen=True, slots=True)
class IssuedStatement:
    """A statement that a known issuer signed. What it says is its own. Built only here."""

    issuer: str
    subject: str


def open_entries(entries: Sequence[bytes], *, issuers: Issuers) -> list[object]:
    """For each entry what it is, or what is wrong with it: a statement of ours, or one of a known issuer's."""
    ours = iter(open_statements([entry for entry in entries if not is_cose(entry)]))
    return [_opened(entry, issuers) if is_cose(entry) else next(ours) for entry in entries]


def is_cose(entry: bytes) -> bool:
    """Whether an entry begins with a CBOR tag, as COSE_Sign1 does; a statement of ours is a map."""
    return bool(entry) and entry[0] >> 5 == _TAG


def open_foreign_statement(data: bytes, issuers: Issuers) -> IssuedStatement:
    """Hold a statement against the registration policy.

    Raises:
        TooLarge, MalformedInput: not a COSE_Sign1, or not of an algorithm that is read here.
        NotRegistered: it is not of a form that is registered, or of no issuer that is known.
        BadSignature: none of the issuer's keys signed it.
    """
    message = parse_foreign_sign1(data, limit=MAXIMUM_ENTRY)
    if message.payload is None:
        raise NotRegistered("Payload Missing", "the statement's payload is in it, not detached")
    if message.unprotected != {}:
        raise NotRegistered("Rejected", "what is unsigned is not registered: leave the unprotected header empty")
    issuer, subject = message.claim(ISSUER), message.claim(SUBJECT)
    if not issuer or not subject or max(len(issuer), len(subject)) > MAXIMUM_CLAIM:
        raise NotRegistered("Rejected", f"issuer and subject are CWT claims, up to {MAXIMUM_CLAIM} characters each")
    if issuer not in issuers:
        raise NotRegistered("Rejected", "no key of this issuer is configured here")
    _check(message, message.payload, issuers[issuer])
    return IssuedStatement(issuer, subject)


def _opened(entry: bytes, issuers: Issuers) -> IssuedStatement | CloisterError:
    try:
        return open_foreign_statement(entry, issuers)
    except CloisterError as error:
        return error


def _check(message: ForeignSign1, payload: bytes, keys: Sequence[VerificationKey]) -> None:
    signed = sig_structure(message.protected, payload)
    for key in keys:
        try:
            key.check(message.algorithm, message.signature, signed)
        except BadSignature:
            continue
        return
    raise BadSignature("none of the issuer's keys signed the statement")
