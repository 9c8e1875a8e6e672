"""Asks the witnesses for cosignatures over one checkpoint, all at once, until a quorum of them has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

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
Answer = TypeVar("Answer")


class Unwitnessed(Unavailable):
    """Too few witnesses cosigned. What was appended stays stored and counts once a later checkpoint is cosigned."""


class RolledBack(Unwitnessed):
    """Witnesses cosigned more entries than are stored: the log had a newer store than this. Nothing is signed."""


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
        asked = {witness.name: self._ask(witness, caller, note, size, tree) for witness, caller in self._witnesses}
        lines, refusals = await _answers(asked, enough=self._needed)
        if len(lines) < self._needed:
            found = f"{len(lines)} of the {self._needed} witnesses that it takes cosigned"
            raise Unwitnessed(f"{found}: {'; '.join(sorted(refusals))}")
        order = [line for witness, _ in self._witnesses for line in lines.get(witness.name, ())]
        return SignedNote(note.text, (*note.signatures, *order))

    async def compare(self, note: SignedNote, size: int, stored: int) -> None:
        """Have witnesses say that they cosigned no more than the `stored` entries, before anything new is signed.

        They are sent `note`, a checkpoint of `size` that the log signed before (or that of the empty log, which every
        history begins with), and answer with the size that each cosigned last. A majority must have cosigned no more,
        and no fewer than the quorum: so many cannot all have missed a checkpoint that counted.

        Raises:
            RolledBack: so many cosigned more that this cannot be.
            Unwitnessed: too few answered.
        """
        asked = {witness.name: self._size_at(caller, note, size) for witness, caller in self._witnesses}
        enough = max(self._needed, len(self._witnesses) // 2 + 1)
        sizes, refusals = await _answers(asked, enough=enough)
        self._cosigned |= {name: found for name, found in sizes.items() if found <= size}
        beyond = {name: found for name, found in sizes.items() if found > stored}
        if len(sizes) - len(beyond) >= enough:
            return
        if beyond:
            name, most = max(beyond.items(), key=lambda one: one[1])
            raise RolledBack(
                f"ledger.rollback: the witness {name} cosigned {most} entries of this log, {stored} are here: the"
                " database is older than that, perhaps a restored backup; bring the newer one back, nothing is signed"
            )
        found = f"{len(sizes)} of the {enough} witnesses that it takes said what they cosigned last"
        raise Unwitnessed(f"{found}: {'; '.join(sorted(refusals))}")

    @staticmethod
    async def _size_at(caller: WitnessCaller, note: SignedNote, size: int) -> int:
        try:
            await caller.add_checkpoint(AddCheckpoint(size, (), note.encode()))
        except SizeConflict as conflict:
            return conflict.size
        return size

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


async def _answers(
    asked: Mapping[str, Coroutine[Any, Any, Answer]], *, enough: int
) -> tuple[dict[str, Answer], list[str]]:
    """What the witnesses answer by name, and what the others say against it; of those beyond `enough`, the quick."""
    names = {asyncio.create_task(asking): name for name, asking in asked.items()}
    waiting = set(names)
    answers: dict[str, Answer] = {}
    refusals: list[str] = []
    try:
        while waiting:
            patience = STRAGGLER_SECONDS if len(answers) >= enough else None
            done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            for task in done:
                try:
                    answers[names[task]] = task.result()
                except CloisterError as error:
                    refusals.append(str(error))
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return answers, refusals


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
