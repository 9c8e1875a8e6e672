"""Proofs that an entry is in a log (C2SP tlog-proof), examined offline: nobody is asked."""

from __future__ import annotations

from dataclasses import dataclass

from cloister.crypto.merkle import BadProof, check_inclusion, leaf_hash
from cloister.errors import Refused
from cloister.examination import Examination, Steps
from cloister.formats.tlog_proof import TlogProof
from cloister.ledger.checkpoints import SIGNED_STEPS, VerifiedCheckpoint, check_checkpoint
from cloister.ledger.log_rules import LogRules

PROOF_STEPS = (*SIGNED_STEPS, "proof.inclusion")


class ProofRefused(Refused):
    """The proof does not show that the entry is in the log that the rules are of."""


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry that is in a log that a quorum of witnesses cosigned. Built only here."""

    index: int
    entry: bytes
    checkpoint: VerifiedCheckpoint


def examine_proof(proof: TlogProof, entry: bytes, rules: LogRules) -> Examination[ProvenEntry]:
    """Examine whether `proof` shows `entry` to be in the log of `rules`."""
    steps = Steps(PROOF_STEPS, ProofRefused)
    checkpoint = check_checkpoint(
        steps, proof.checkpoint, log=rules.log, witnesses=rules.witnesses, quorum=rules.quorum
    )
    if checkpoint is None:
        return steps.stopped()
    found = f"entry {proof.index} of {checkpoint.size}"
    steps.attempt("proof.inclusion", lambda: _included(proof, entry, checkpoint), BadProof, found=found)
    return steps.examined(lambda: ProvenEntry(proof.index, entry, checkpoint))


def _included(proof: TlogProof, entry: bytes, checkpoint: VerifiedCheckpoint) -> None:
    check_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.path, checkpoint.root)
