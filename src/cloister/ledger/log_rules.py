"""Whose word counts on a log: the log's own key, its witnesses', and how many of them it takes.

A constitution says so for its log (`trust`, `contract`); whoever reads a log by itself says so in verifier keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloister.errors import UsageError
from cloister.examination import Examination
from cloister.formats.checkpoint import COSIGNATURE_ML_DSA, COSIGNATURE_V1, ED25519, VerifierKey, parse_vkey
from cloister.formats.constitution import Constitution, Log, Witness
from cloister.ledger.checkpoints import VerifiedCheckpoint, examine_checkpoint


@dataclass(frozen=True, slots=True)
class LogRules:
    """What a checkpoint is held against."""

    log: Log
    witnesses: tuple[Witness, ...]
    quorum: int

    def examine(self, note: bytes) -> Examination[VerifiedCheckpoint]:
        """Examine a cosigned checkpoint."""
        return examine_checkpoint(note, log=self.log, witnesses=self.witnesses, quorum=self.quorum)


def rules_of(constitution: Constitution) -> LogRules:
    """The rules that a constitution states."""
    return LogRules(constitution.log, constitution.witnesses, constitution.quorum)


def named_rules(log: str, witnesses: Sequence[str], quorum: int) -> LogRules:
    """The rules in verifier keys: the log's (type 01), and each witness's (04, and 06 under the same name).

    Raises:
        MalformedInput: a text is no verifier key.
        UsageError: a key is of another kind, a name comes twice, or no such quorum can be.
    """
    key = parse_vkey(log)
    if key.kind != ED25519:
        raise UsageError(f"the verifier key of {key.name} is a witness's, not a log's (type 01)")
    named = _witnesses([parse_vkey(text) for text in witnesses])
    if not 1 <= quorum <= len(named):
        raise UsageError(f"a quorum of {quorum} out of {len(named)} witnesses: it is at least 1, and no more")
    return LogRules(Log(origin=key.name, key=key.public), named, quorum)


def _witnesses(keys: Sequence[VerifierKey]) -> tuple[Witness, ...]:
    first = {key.name: key.public for key in keys if key.kind == COSIGNATURE_V1}
    second = {key.name: key.public for key in keys if key.kind == COSIGNATURE_ML_DSA}
    if len(first) + len(second) != len(keys):
        raise UsageError("each verifier key of a witness is of type 04 or 06, and none comes twice under its name")
    if not second.keys() <= first.keys():
        raise UsageError("a witness's key of type 06 stands beside one of type 04 under the same name")
    if len(set(first.values())) != len(first) or len(set(second.values())) != len(second):
        raise UsageError("each witness has its own keys")
    return tuple(Witness(name=name, key=public, ml_dsa=second.get(name, b"")) for name, public in first.items())
