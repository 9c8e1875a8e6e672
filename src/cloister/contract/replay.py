"""Replays a log inside the TEE that will act on it: entries against the cosigned root, and against what was seen.

The ledger's host holds the disks. What it serves counts only if it begins with the pinned genesis, adds up to a root
that the constitution's log signed and its witnesses cosigned, and continues what this process has seen already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloister.contract.fold import Opening, begin, fold
from cloister.contract.placed import EntryVoid
from cloister.contract.state import State
from cloister.crypto.merkle import GrowingTree, leaf_hash
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.ledger.checkpoints import SIGNED_STEPS, VerifiedCheckpoint, check_checkpoint
from cloister.ledger.statements import open_statements

REPLAY_STEPS = ("kms.genesis", *SIGNED_STEPS, "kms.log", "kms.log-continuity")


class LogRefused(Refused):
    """What the ledger serves is not the log that this process may act on."""


@dataclass(frozen=True, slots=True)
class ReplayedLog:
    """Entries that add up to a cosigned checkpoint, and the state that they fold to. Built only here."""

    state: State
    checkpoint: VerifiedCheckpoint
    tree: GrowingTree  # over all entries, to make proofs from; it is not appended to


def examine_first_log(
    entries: Sequence[bytes], note: bytes, *, genesis: bytes, opening: Opening = open_statements
) -> Examination[ReplayedLog]:
    """Examine a whole log, from its first entry, under the cosigned checkpoint `note`; `opening` as `fold` takes it."""
    steps = Steps(REPLAY_STEPS, LogRefused)
    if not steps.check("kms.genesis", bool(entries), "the log is empty"):
        return steps.stopped()
    state = steps.attempt("kms.genesis", lambda: begin(entries[0], genesis=genesis), EntryVoid)
    if state is None:
        return steps.stopped()
    steps.check("kms.log-continuity", True, "", found="seen for the first time")
    state = fold(state, entries[1:], opening=opening)
    return _examine(steps, state, GrowingTree().grown(map(leaf_hash, entries)), note)


def examine_growth(
    known: ReplayedLog, entries: Sequence[bytes], note: bytes, *, opening: Opening = open_statements
) -> Examination[ReplayedLog]:
    """Examine the `entries` that follow `known`, under the cosigned checkpoint `note`; `opening` as `fold` takes it.

    The new root is that of the tree that this process holds, grown by the new entries, so a log that does not continue
    what was seen cannot have it.
    """
    steps = Steps(REPLAY_STEPS, LogRefused)
    steps.check("kms.genesis", True, "")
    tree = known.tree.grown(map(leaf_hash, entries)) if entries else known.tree
    return _examine(steps, fold(known.state, entries, opening=opening), tree, note, seen=known.checkpoint.size)


def _examine(steps: Steps, state: State, tree: GrowingTree, note: bytes, *, seen: int = 0) -> Examination[ReplayedLog]:
    rules = state.constitution
    checkpoint = check_checkpoint(steps, note, log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum)
    if checkpoint is None:
        return steps.stopped()
    shortfall = f"has {checkpoint.size} entries, {seen} were seen before: the ledger was rolled back"
    grown = steps.check("kms.log-continuity", checkpoint.size >= seen, shortfall, found=f"{checkpoint.size} entries")
    whole = tree.size == checkpoint.size and tree.root(tree.size) == checkpoint.root
    if grown:
        steps.check("kms.log", whole, f"{tree.size} entries do not add up to the root of {checkpoint.size}")
    return steps.examined(lambda: ReplayedLog(state, checkpoint, tree))
