"""Checkpoints: signed by the log, cosigned by witnesses, and verified against a constitution's log and quorum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloister.crypto.signing import BadSignature, SigningKey, check_signature
from cloister.errors import MalformedInput, Refused, TooLarge
from cloister.examination import Examination, Steps
from cloister.formats.checkpoint import (
    ED25519,
    Checkpoint,
    NoteSignature,
    SignedNote,
    key_id,
    parse_checkpoint,
    parse_note,
)
from cloister.formats.constitution import Log, Witness
from cloister.ledger.cosignatures import cosignature_time

SIGNED_STEPS = ("checkpoint.origin", "checkpoint.signature", "checkpoint.witnesses")


class CheckpointRefused(Refused):
    """A checkpoint is not the constitution's log's, or not witnessed."""


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A tree head that the log signed and a quorum of witnesses cosigned. Built only here."""

    origin: str
    size: int
    root: bytes  # 32 bytes
    note: bytes
    cosigned_at: int  # the quorum-th latest cosignature time: no fewer witnesses than the quorum can push it forward
    seen_by: int  # the quorum-th earliest: one of so many is honest, and saw the checkpoint no later
    witnesses: tuple[str, ...]


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> SignedNote:
    """The checkpoint as a note signed by the log, whose key name is the origin."""
    return sign_note(checkpoint.text(), checkpoint.origin, key)


def sign_note(text: str, name: str, key: SigningKey) -> SignedNote:
    """A note signed by the Ed25519 key of that name (signed-note)."""
    identity = key_id(name, key.public, kind=ED25519)
    return SignedNote(text, (NoteSignature(name, identity, key.sign(text.encode())),))


def check_log_signature(note: SignedNote, log: Log) -> None:
    """Check that the log signed the note.

    Raises:
        BadSignature: no signature of the log's key, or one that does not hold.
    """
    identity = key_id(log.origin, log.key, kind=ED25519)
    lines = [line for line in note.signatures if (line.name, line.key_id) == (log.origin, identity)]
    if not lines:
        raise BadSignature(f"not signed by the log {log.origin}")
    for line in lines:
        check_signature(log.key, line.signature, note.text.encode())


def check_checkpoint(
    steps: Steps, data: bytes, *, log: Log, witnesses: Sequence[Witness], quorum: int
) -> VerifiedCheckpoint | None:
    """Record `checkpoint.origin`, `.signature` and `.witnesses` in a caller's examination; None where one failed."""
    # 1. A checkpoint of this log …
    parsed = steps.attempt("checkpoint.origin", lambda: _parse(data), MalformedInput, TooLarge)
    if parsed is None:
        return None
    note, checkpoint = parsed
    origin = checkpoint.origin == log.origin
    steps.check("checkpoint.origin", origin, f"is of {checkpoint.origin}, not of {log.origin}", found=log.origin)
    # 2. … that the log signed …
    signed = steps.attempt("checkpoint.signature", lambda: _signed(note, log), BadSignature, found="signed by the log")
    # 3. … and a quorum of distinct witnesses cosigned.
    times = steps.attempt("checkpoint.witnesses", lambda: _cosigned(note, witnesses), BadSignature)
    if times is None:
        return None
    shortfall = f"{len(times)} of the {quorum} witnesses that it takes cosigned"
    enough = steps.check(
        "checkpoint.witnesses", len(times) >= quorum, shortfall, found=f"{len(times)} of {len(witnesses)}"
    )
    if not (origin and signed and enough):
        return None
    ordered = sorted(times.values())
    bound, seen_by = ordered[-quorum], ordered[quorum - 1]
    names = tuple(sorted(times))
    return VerifiedCheckpoint(checkpoint.origin, checkpoint.size, checkpoint.root, data, bound, seen_by, names)


def examine_checkpoint(
    data: bytes, *, log: Log, witnesses: Sequence[Witness], quorum: int
) -> Examination[VerifiedCheckpoint]:
    """Examine a cosigned checkpoint by itself."""
    steps = Steps(SIGNED_STEPS, CheckpointRefused)
    checkpoint = check_checkpoint(steps, data, log=log, witnesses=witnesses, quorum=quorum)
    if checkpoint is None:
        return steps.stopped()
    return steps.examined(lambda: checkpoint)


def _parse(data: bytes) -> tuple[SignedNote, Checkpoint]:
    note = parse_note(data)
    return note, parse_checkpoint(note.text)


def _signed(note: SignedNote, log: Log) -> bool:
    check_log_signature(note, log)
    return True


def _cosigned(note: SignedNote, witnesses: Sequence[Witness]) -> dict[str, int]:
    times = {witness.name: cosignature_time(note, witness) for witness in witnesses}
    return {name: at for name, at in times.items() if at is not None}
