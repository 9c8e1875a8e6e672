"""One step of many examinations: an entry is in the log that witnesses have seen."""

from __future__ import annotations

from collections.abc import Sequence

from cloister.crypto.merkle import BadProof, check_inclusion, leaf_hash
from cloister.examination import Steps
from cloister.ledger.checkpoints import VerifiedCheckpoint


def check_included(
    steps: Steps, step: str, entry: bytes, *, index: int, path: Sequence[bytes], checkpoint: VerifiedCheckpoint
) -> None:
    """Record `step`: `entry` stands at `index` under the root of `checkpoint`, as `path` proves."""
    steps.attempt(
        step,
        lambda: check_inclusion(leaf_hash(entry), index, checkpoint.size, path, checkpoint.root),
        BadProof,
        found=f"entry {index} of {checkpoint.size}",
    )
