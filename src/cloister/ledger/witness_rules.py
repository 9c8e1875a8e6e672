"""What a witness decides (C2SP tlog-witness): whether a submitted checkpoint continues what it cosigned before.

Two steps, since the second must be one transaction with the remembering: `authenticate` needs no memory, `advance`
does. Each refusal has the status that the specification gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloister.crypto.merkle import EMPTY_ROOT, BadProof, check_consistency
from cloister.errors import CloisterError, Refused, UsageError
from cloister.formats.add_checkpoint import AddCheckpoint
from cloister.formats.checkpoint import Checkpoint, SignedNote, parse_checkpoint, parse_note
from cloister.formats.constitution import Log
from cloister.ledger.checkpoints import check_log_signature


class UnknownLog(UsageError):
    """This witness watches no log of that origin."""

    status = 404


class SizeConflict(CloisterError):
    """The log's idea of what was cosigned last is not this witness's; `size` is."""

    status = 409

    def __init__(self, size: int) -> None:
        super().__init__(f"the last checkpoint cosigned here has {size} entries")
        self.size = size


class Fork(Refused):
    """Two histories of one log: what no witness cosigns."""

    status = 409


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a witness remembers of a log: the last size and root it cosigned."""

    size: int
    root: bytes  # 32 bytes


NOTHING = TreeHead(0, EMPTY_ROOT)  # before the first cosignature


@dataclass(frozen=True, slots=True)
class Submission:
    """A request whose checkpoint a log that is watched here has signed. Built only here."""

    note: SignedNote
    checkpoint: Checkpoint
    old_size: int
    path: tuple[bytes, ...]


def authenticate(request: AddCheckpoint, logs: Mapping[str, Log]) -> Submission:
    """Check that a known log signed the checkpoint; `logs` by origin.

    Raises:
        MalformedInput, TooLarge: the note is no checkpoint.
        UnknownLog: no log of this origin is watched here.
        BadSignature: none of the log's signatures holds.
        UsageError: the old size is over the new one.
    """
    note = parse_note(request.note)
    checkpoint = parse_checkpoint(note.text)
    log = logs.get(checkpoint.origin)
    if log is None:
        raise UnknownLog("no log of this origin is watched here")
    check_log_signature(note, log)
    if request.old_size > checkpoint.size:
        raise UsageError(f"the old size {request.old_size} is over the checkpoint's, {checkpoint.size}")
    return Submission(note, checkpoint, request.old_size, request.path)


def advance(submission: Submission, remembered: TreeHead) -> TreeHead:
    """The head to remember before the cosignature leaves, if the checkpoint continues `remembered`.

    Raises:
        SizeConflict: the old size is not the remembered one.
        Fork: another root at the remembered size.
        BadProof: the checkpoint is not shown to continue the remembered head.
    """
    checkpoint = submission.checkpoint
    head = TreeHead(checkpoint.size, checkpoint.root)
    # 1. "The witness MUST check that the old size matches the size of the latest checkpoint it cosigned."
    if submission.old_size != remembered.size:
        raise SizeConflict(remembered.size)
    # 2. "If the old size matches the checkpoint size, the witness MUST check that the root hashes are also identical."
    if head.size == remembered.size:
        if head.root != remembered.root:
            raise Fork("witness.fork", f"another root at size {head.size} than the one cosigned before")
        if submission.path:
            raise BadProof("a proof from a size to itself is empty")
        return head
    # 3. "The proof MUST be empty if the old size is zero."
    if remembered.size == 0:
        if submission.path:
            raise BadProof("a proof from size 0 is empty")
        return head
    check_consistency(remembered.size, remembered.root, head.size, head.root, submission.path)
    return head
