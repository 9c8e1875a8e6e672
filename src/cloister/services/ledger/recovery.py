"""Holds the newest stored checkpoint against the log's key, before anything is served."""

from __future__ import annotations

from cloister.crypto.signing import BadSignature
from cloister.errors import MalformedInput, TooLarge
from cloister.formats.checkpoint import parse_checkpoint, parse_note
from cloister.formats.constitution import Log
from cloister.ledger.checkpoints import check_log_signature
from cloister.storage.database_file import CorruptStore
from cloister.storage.ledger_store import StoredCheckpoint


def require_own_note(stored: StoredCheckpoint, log: Log) -> None:
    """Check that the log signed this note, and that it says what it is stored under.

    Raises:
        CorruptStore: it did not, or the note says something else.
    """
    what = f"the note of {stored.size} entries"
    try:
        note = parse_note(stored.note)
        checkpoint = parse_checkpoint(note.text)
        check_log_signature(note, log)
    except (MalformedInput, TooLarge, BadSignature) as error:
        raise CorruptStore(f"{what} is damaged: {error}") from error
    if (checkpoint.origin, checkpoint.size, checkpoint.root) != (log.origin, stored.size, stored.root):
        raise CorruptStore(f"{what} says another size, root or origin than it is stored under")
