"""What the payload of each kind of statement says, and which entries and documents it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from cloister.errors import MalformedInput, TooLarge
from cloister.formats.constitution import parse_constitution
from cloister.formats.contract import parse_contract
from cloister.formats.custody import (
    Use,
    parse_deposit,
    parse_recovery,
    parse_retirement,
    parse_root,
    parse_rotation,
    parse_use,
)
from cloister.formats.governance import parse_vote, parse_witnessed_time
from cloister.formats.handover import Handover, parse_handover
from cloister.formats.identity import Authority, Identity, parse_authority, parse_identity
from cloister.formats.model_registration import parse_model_registration
from cloister.formats.refusal import parse_refusal
from cloister.formats.release import Release, parse_epoch, parse_kms_instance, parse_release, parse_revocation
from cloister.formats.statement import parse_statement
from cloister.ledger.statements import SignedStatement

PARSERS: Final[Mapping[str, Callable[[bytes], msgspec.Struct]]] = {
    "constitution": parse_constitution,
    "contract": parse_contract,
    "kms": parse_kms_instance,
    "epoch": parse_epoch,
    "release": parse_release,
    "revocation": parse_revocation,
    "root": parse_root,
    "deposit": parse_deposit,
    "use": parse_use,
    "recovery": parse_recovery,
    "rotation": parse_rotation,
    "retirement": parse_retirement,
    "time": parse_witnessed_time,
    "vote": parse_vote,
    "refusal": parse_refusal,
    "handover": parse_handover,
    "authority": parse_authority,
    "identity": parse_identity,
    "model": parse_model_registration,
}
# Fields that hold the digest of an entry or of a document in an earlier one.
_REFERENCES: Final = ("constitution", "contract", "subject", "previous", "epoch", "target", "proposal", "terms")


def read_payload(statement: SignedStatement) -> msgspec.Struct | None:
    """The record that a statement signs; None where it cannot be read."""
    return _read(statement.kind, statement.payload)


def read_entry(entry: bytes) -> msgspec.Struct | None:
    """The record in an entry whose signatures nobody has checked; None where it cannot be read."""
    try:
        statement = parse_statement(entry)
    except (MalformedInput, TooLarge):
        return None
    return _read(statement.kind, statement.payload)


def _read(kind: str, payload: bytes) -> msgspec.Struct | None:
    parse = PARSERS.get(kind)
    try:
        return None if parse is None else parse(payload)
    except (MalformedInput, TooLarge):
        return None


def references(record: msgspec.Struct | None) -> tuple[bytes, ...]:
    """The digests of entries and documents that a record names, each of which the log should have before it."""
    if record is None:
        return ()
    named = [getattr(record, field, b"") for field in _REFERENCES]
    if isinstance(record, Use):
        named += record.deposits
    if isinstance(record, Identity):
        named += record.authorities
    if isinstance(record, Authority):
        named.append(record.root)
    if isinstance(record, Handover):
        named += [secret.name for secret in record.secrets]
    return tuple(digest for digest in named if isinstance(digest, bytes) and len(digest) == 32)


def evidence_named(record: msgspec.Struct | None) -> bytes | None:
    """The digest of the evidence that a release, use, handover or identity names; it is in the ledger's blob store."""
    return record.evidence if isinstance(record, Release | Use | Handover | Identity) else None
