"""What a mirror of a log is held to: entries that add up to a cosigned checkpoint and continue what it had before."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.crypto.merkle import GrowingTree
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.ledger.checkpoints import SIGNED_STEPS, VerifiedCheckpoint, check_checkpoint
from cloister.ledger.log_rules import LogRules

MIRROR_STEPS = (*SIGNED_STEPS, "mirror.entries", "mirror.continuity")


class MirrorRefused(Refused):
    """What was read of a log is not what its witnesses cosigned, or not what was mirrored before."""


@dataclass(frozen=True, slots=True)
class MirroredLog:
    """A whole log, all of it under a cosigned checkpoint. Built only here."""

    checkpoint: VerifiedCheckpoint
    tree: GrowingTree  # over all entries; it is not appended to


def examine_mirror(
    note: bytes, tree: GrowingTree, rules: LogRules, *, kept: VerifiedCheckpoint | None
) -> Examination[MirroredLog]:
    """Examine the `tree` over all entries that were read, under the checkpoint `note`; `kept` is the mirror's last."""
    steps = Steps(MIRROR_STEPS, MirrorRefused)
    checkpoint = check_checkpoint(steps, note, log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum)
    if checkpoint is None:
        return steps.stopped()
    # 1. The entries are those that the witnesses saw …
    whole = tree.size == checkpoint.size and tree.root(tree.size) == checkpoint.root
    shortfall = f"{tree.size} entries do not add up to the root of {checkpoint.size}"
    steps.check("mirror.entries", whole, shortfall, found=f"{tree.size} entries")
    # 2. … and begin with those that were mirrored before.
    if kept is None:
        steps.check("mirror.continuity", True, "", found="the first copy: relies on the witnesses")
    elif checkpoint.size < kept.size:
        shortfall = f"has {checkpoint.size} entries, {kept.size} were mirrored before"
        steps.check("mirror.continuity", False, shortfall)
    else:
        same = tree.size >= kept.size and tree.root(kept.size) == kept.root
        shortfall = f"its first {kept.size} entries are not those that were mirrored before"
        steps.check("mirror.continuity", same, shortfall, found=f"continues {kept.size}")
    return steps.examined(lambda: MirroredLog(checkpoint, tree))
