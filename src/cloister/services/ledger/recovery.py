"""Reads the stored log back and holds it against the checkpoints that witnesses cosigned, before anything is served."""

from __future__ import annotations

from collections.abc import Sequence

from cloister.crypto.merkle import GrowingTree
from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.constitution import Log
from cloister.ledger.checkpoints import check_log_signature
from cloister.storage.database_file import CorruptStore
from cloister.storage.ledger_store import StoredCheckpoint, StoredLog


def grow_tree(stored: StoredLog, log: Log) -> GrowingTree:
    """The tree over the stored entries.

    Raises:
        CorruptStore: a cosigned root is not that of the entries, or a checkpoint is not this log's. A log that went on
            from there would show its witnesses another history than the one they cosigned.
    """
    tree = GrowingTree()
    for leaf in stored.leaves:
        tree.append(leaf)
    for checkpoint in stored.checkpoints:
        _check_root(checkpoint, tree)
    newest = latest(stored.checkpoints)
    if newest is not None:
        _check_note(newest, log)
    return tree


def latest(checkpoints: Sequence[StoredCheckpoint]) -> StoredCheckpoint | None:
    """The largest cosigned checkpoint, if there is any."""
    return checkpoints[-1] if checkpoints else None


def _check_root(stored: StoredCheckpoint, tree: GrowingTree) -> None:
    what = f"the checkpoint of {stored.size} entries"
    if stored.size > tree.size:
        raise CorruptStore(f"{what} was cosigned, but only {tree.size} entries are stored")
    if stored.root != tree.root(stored.size):
        raise CorruptStore(f"{what} has the root {stored.root.hex()}, its entries {tree.root(stored.size).hex()}")


def _check_note(stored: StoredCheckpoint, log: Log) -> None:
    what = f"the note of {stored.size} entries"
    try:
        note = parse_note(stored.note)
        checkpoint = parse_checkpoint(note.text)
        check_log_signature(note, log)
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise CorruptStore(f"{what} is damaged: {error}") from error
    if (checkpoint.origin, checkpoint.size, checkpoint.root) != (log.origin, stored.size, stored.root):
        raise CorruptStore(f"{what} says another size, root or origin than it is stored under")
