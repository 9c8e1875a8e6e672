"""Holds a ledger's backup against the log's own rules: every entry, root and note, and the newest cosignatures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloister.crypto.merkle import GrowingTree, leaf_hash
from cloister.crypto.signing import BadSignature
from cloister.errors import CloisterError, MalformedInput, Refused, TooLarge
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.ledger_backup import Kind, Record, parse_head
from cloister.ledger.checkpoints import VerifiedCheckpoint, check_log_signature
from cloister.ledger.log_rules import LogRules

MAXIMUM_BEYOND = 16_384  # entries that are stored and not cosigned yet


class BadBackup(CloisterError):
    """A backup is not one of this log, or not whole. Nothing was restored."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class VerifiedBackup:
    """What a backup holds, all of it examined. Built only here."""

    entries: int
    checkpoints: int
    blobs: int
    newest: VerifiedCheckpoint | None  # None: no checkpoint was cosigned yet


def verify_backup(records: Iterable[Record], rules: LogRules, admit: Callable[[bytes], object]) -> VerifiedBackup:
    """Examine a backup's records to the last.

    Entries under the newest checkpoint are those that witnesses cosigned the root of; `admit` raises where one beyond
    it is no entry that may be logged.

    Raises:
        BadBackup: it is of another log, an entry is not the one that was logged, a note is not the log's, or too few of
            its witnesses cosigned the newest.
        MalformedInput: it is no backup, or a part of one.
    """
    tree = GrowingTree()
    counts = dict.fromkeys(Kind, 0)
    newest: tuple[int, bytes] | None = None
    last: deque[bytes] = deque(maxlen=MAXIMUM_BEYOND)
    for record in records:
        counts[record.kind] += 1
        match record.kind:
            case Kind.HEAD:
                _require_own(record, rules)
            case Kind.ENTRY:
                tree.append(leaf_hash(record.body))
                last.append(record.body)
            case Kind.CHECKPOINT:
                newest = _held(record.body, tree, rules, newest)
    verified = None if newest is None else _cosigned(newest[1], rules)
    beyond = tree.size - (0 if newest is None else newest[0])
    if beyond > MAXIMUM_BEYOND:
        raise BadBackup(f"{beyond} entries are under no cosigned checkpoint, more than a ledger stores")
    for entry in list(last)[len(last) - beyond :]:
        _require_admitted(entry, admit)
    return VerifiedBackup(counts[Kind.ENTRY], counts[Kind.CHECKPOINT], counts[Kind.BLOB], verified)


def _require_own(record: Record, rules: LogRules) -> None:
    head = parse_head(record)
    if (head.origin, head.key) != (rules.log.origin, rules.log.key):
        raise BadBackup(
            f"the backup is of the log {head.origin} with the key {head.key.hex()[:16]}…,"
            f" the settings name {rules.log.origin} with {rules.log.key.hex()[:16]}…"
        )


def _held(data: bytes, tree: GrowingTree, rules: LogRules, before: tuple[int, bytes] | None) -> tuple[int, bytes]:
    """The size of a note that is of this log and of these entries, and larger than the one before; and the note."""
    try:
        note = parse_note(data)
        checkpoint = parse_checkpoint(note.text)
        check_log_signature(note, rules.log)
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise BadBackup(f"a checkpoint of the backup does not hold: {error}") from error
    if checkpoint.origin != rules.log.origin:
        raise BadBackup(f"a checkpoint of the backup is of the log {checkpoint.origin}")
    size = checkpoint.size
    if before is not None and size <= before[0]:
        raise BadBackup("the checkpoints of the backup are not in their order")
    if size > tree.size:
        raise BadBackup(f"the checkpoint of {size} entries was cosigned, but the backup has only {tree.size}")
    if checkpoint.root != tree.root(size):
        raise BadBackup(f"the entries of the backup are not those of its checkpoint of {size}: the root is another")
    return size, data


def _cosigned(note: bytes, rules: LogRules) -> VerifiedCheckpoint:
    try:
        return rules.examine(note).require()
    except Refused as refused:
        raise BadBackup(f"the newest checkpoint of the backup does not hold: {refused}") from refused


def _require_admitted(entry: bytes, admit: Callable[[bytes], object]) -> None:
    try:
        admit(entry)
    except CloisterError as error:
        raise BadBackup(f"an entry of the backup that no checkpoint covers may not be logged: {error}") from error
