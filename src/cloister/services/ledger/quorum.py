"""Asks the witnesses for cosignatures over one checkpoint, all at once, until a quorum of them has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from cloister.crypto.merkle import GrowingTree, consistency_path
from cloister.crypto.signing import BadSignature
from cloister.errors import CloisterError, Unavailable
from cloister.formats.add_checkpoint import AddCheckpoint
from cloister.formats.checkpoint import NoteSignature, SignedNote
from cloister.formats.constitution import Witness
from cloister.ledger.cosignatures import cosignature_time, own_lines
from cloister.ledger.witness_rules import SizeConflict

STRAGGLER_SECONDS = 0.1  # for witnesses beyond the quorum, once it has answered
ATTEMPTS = 3  # a witness that disagrees about the old size is asked again with its own


Lines = tuple[NoteSignature, ...]  # one witness's, one at least


class Unwitnessed(Unavailable):
    """Too few witnesses cosigned. What was appended stays stored and counts once a later checkpoint is cosigned."""


class WitnessCaller(Protocol):
    """What is asked of a witness's client."""

    async def add_checkpoint(self, request: AddCheckpoint) -> tuple[NoteSignature, ...]:
        """The witness's signature lines; `SizeConflict` names the size it last cosigned."""


class Quorum:
    """The log's witnesses. `needed` of them, each counted once, make a checkpoint count."""

    def __init__(self, witnesses: Sequence[tuple[Witness, WitnessCaller]], *, needed: int) -> None:
        self._witnesses = tuple(witnesses)
        self._needed = needed
        self._cosigned: dict[str, int] = {}  # the size each cosigned last, as far as is known here

    async def cosign(self, note: SignedNote, size: int, tree: GrowingTree) -> SignedNote:
        """`note`, the log's checkpoint of `size` entries, with the cosignatures of a quorum at least.

        Raises:
            Unwitnessed: fewer; it says what each of the others answered.
        """
        waiting = {
            asyncio.create_task(self._ask(witness, caller, note, size, tree)) for witness, caller in self._witnesses
        }
        lines: dict[str, Lines] = {}
        refusals: list[str] = []
        try:
            while waiting:
                patience = STRAGGLER_SECONDS if len(lines) >= self._needed else None
                done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                for task in done:
                    self._collect(task, lines, refusals)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        if len(lines) < self._needed:
            found = f"{len(lines)} of the {self._needed} witnesses that it takes cosigned"
            raise Unwitnessed(f"{found}: {'; '.join(sorted(refusals))}")
        order = [line for witness, _ in self._witnesses for line in lines.get(witness.name, ())]
        return SignedNote(note.text, (*note.signatures, *order))

    @staticmethod
    def _collect(task: asyncio.Task[Lines], lines: dict[str, Lines], refusals: list[str]) -> None:
        try:
            found = task.result()
        except CloisterError as error:
            refusals.append(str(error))
        else:
            lines[found[0].name] = found

    async def _ask(
        self, witness: Witness, caller: WitnessCaller, note: SignedNote, size: int, tree: GrowingTree
    ) -> Lines:
        old = min(self._cosigned.get(witness.name, 0), size)
        for _ in range(ATTEMPTS):
            path = consistency_path(old, size, tree.subtree) if old else ()
            try:
                lines = await caller.add_checkpoint(AddCheckpoint(old, path, note.encode()))
            except SizeConflict as conflict:
                if conflict.size > size:
                    raise Unavailable(
                        f"the witness {witness.name} cosigned {conflict.size} entries of this log, {size} are here:"
                        " the database is older than that, perhaps a restored backup"
                    ) from conflict
                old = conflict.size
                continue
            found = _own_lines(witness, note, lines)
            self._cosigned[witness.name] = size
            return found
        raise Unavailable(f"the witness {witness.name} does not settle on what it cosigned last")


def _own_lines(witness: Witness, note: SignedNote, lines: Lines) -> Lines:
    """The witness's own cosignatures among `lines`, checked: strangers' would not count for anyone."""
    own = own_lines(SignedNote(note.text, lines), witness)
    try:
        time = cosignature_time(SignedNote(note.text, own), witness)
    except BadSignature as error:
        raise Unavailable(f"the witness {witness.name} answered with a cosignature that does not hold") from error
    if time is None:
        keys = "by both of its keys" if witness.ml_dsa else "by its key"
        raise Unavailable(f"the witness {witness.name} answered without its cosignature {keys}")
    return own
