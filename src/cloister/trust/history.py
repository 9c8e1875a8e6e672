"""The client's steps on the log: checkpoint, witnesses, freshness, memory, and the inclusion of every entry shown."""

from __future__ import annotations

from collections.abc import Sequence

from cloister.crypto.merkle import BadProof, check_consistency, check_inclusion, leaf_hash
from cloister.examination import Steps
from cloister.formats.key_bundle import PROVEN_SIZES, KeyBundle, LoggedEntry
from cloister.formats.trust_policy import TrustPolicy
from cloister.ledger.checkpoints import VerifiedCheckpoint
from cloister.trust.memory import Memory

HISTORY_STEPS = (
    "checkpoint.time",
    "checkpoint.age",
    "checkpoint.rollback",
    "checkpoint.consistency",
)

INCLUSION_STEPS = (
    "constitution.inclusion",
    "contract.inclusion",
    "epoch.inclusion",
    "gateway.inclusion",
)


def check_freshness(steps: Steps, checkpoint: VerifiedCheckpoint, policy: TrustPolicy, *, at: int) -> None:
    """Cosignature times are the lower bound on now that the host cannot forge."""
    skew = policy.maximum_clock_skew_seconds
    early = checkpoint.cosigned_at - at
    steps.check("checkpoint.time", early <= skew, f"was cosigned {early} s in this machine's future: check the clock")
    age = max(0, at - checkpoint.cosigned_at)
    limit = policy.maximum_state_age_seconds + skew
    steps.check("checkpoint.age", age <= limit, f"is {age} s old, {limit} s are allowed", found=f"{age} s old")


def check_memory(steps: Steps, bundle: KeyBundle, checkpoint: VerifiedCheckpoint, memory: Memory) -> None:
    """The log only grows: never smaller than before, and what was before is still in it."""
    older = checkpoint.size < memory.size
    steps.check("checkpoint.rollback", not older, f"has {checkpoint.size} entries, {memory.size} were seen before")
    if older:
        return
    if memory.size == 0:
        steps.check("checkpoint.consistency", True, "", found="first contact: relies on the witnesses")
        return
    if memory.size == checkpoint.size:
        same = memory.root == checkpoint.root
        steps.check(
            "checkpoint.consistency", same, "another history at the size seen before: a fork", found="as seen before"
        )
        return
    proof = next((proof for proof in bundle.consistency if proof.size == memory.size), None)
    if proof is None:
        # Every genuine bundle has the proofs from the last sizes; one without them was tampered with.
        due = checkpoint.size - memory.size <= PROVEN_SIZES
        found = f"no proof from size {memory.size}: relies on the witnesses"
        shortfall = f"the proof from size {memory.size}, which every bundle brings, was taken out"
        steps.check("checkpoint.consistency", not due, shortfall, found=found)
        return
    steps.attempt(
        "checkpoint.consistency",
        lambda: check_consistency(memory.size, memory.root, checkpoint.size, checkpoint.root, proof.path),
        BadProof,
        found=f"continues size {memory.size}",
    )


def check_inclusions(steps: Steps, bundle: KeyBundle, checkpoint: VerifiedCheckpoint) -> None:
    """Every entry shown is in the cosigned log, in the log's order."""
    _included(steps, "constitution.inclusion", bundle.constitutions, checkpoint)
    _included(steps, "contract.inclusion", bundle.contracts, checkpoint)
    _included(steps, "epoch.inclusion", bundle.epochs, checkpoint)
    _included(steps, "gateway.inclusion", bundle.releases, checkpoint)


def _included(steps: Steps, step: str, entries: Sequence[LoggedEntry], checkpoint: VerifiedCheckpoint) -> None:
    indices = [entry.index for entry in entries]
    if not steps.check(step, indices == sorted(set(indices)), "entries are not in the log's order"):
        return
    steps.check(step, True, "", found=f"{len(entries)} in the log of {checkpoint.size}")
    for entry in entries:
        steps.attempt(
            step,
            lambda entry=entry: check_inclusion(  # type: ignore[misc]  # binds this round's entry
                leaf_hash(entry.entry), entry.index, checkpoint.size, entry.path, checkpoint.root
            ),
            BadProof,
            found=f"{len(entries)} in the log of {checkpoint.size}",
        )
